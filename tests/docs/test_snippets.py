"""Every command and every piece of Python in the documentation is run, page by page, in a folder with photos."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from snippets import Snippet, session, shape, snippets

import hflow

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md"] + sorted(
    p for d in ("docs", "formats") for p in ROOT.glob(f"{d}/**/*.md")
)
FOUND = {str(page.relative_to(ROOT)): snippets(page) for page in PAGES}
RUN = {page: run for page, found in FOUND.items() if (run := [s for s in found if s.why_not is None])}
NOT_RUN = [(page, s) for page, found in FOUND.items() for s in found if s.why_not is not None]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables with which a shell finds this checkout's hflow, started once for all commands."""
    folder = tmp_path_factory.mktemp("bin")
    env = {k: v for k, v in os.environ.items() if k != "HFLOW_MODELS"}
    env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    env["PATH"] = os.pathsep.join([str(folder), str(Path(sys.executable).parent), env["PATH"]])
    command = [sys.executable, Path(__file__).with_name("forks.py"), folder]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield env
        server.terminate()


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pages assume: photo.png, photos/ with small ones, and broken.hfc, with a damaged byte."""
    photo = Image.open(ROOT / "docs/photo.png").convert("RGB")
    photo.save(tmp_path / "photo.png")
    (tmp_path / "photos/trip").mkdir(parents=True)
    photo.crop((200, 100, 392, 268)).save(tmp_path / "photos/cup.jpg", quality=95)
    photo.crop((300, 150, 396, 214)).save(tmp_path / "photos/trip/spoon.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HFLOW_MODELS", raising=False)
    broken = bytearray(hflow.encode(photo.crop((300, 150, 396, 214))))
    broken[len(broken) // 2] ^= 16
    (tmp_path / "broken.hfc").write_bytes(broken)
    return tmp_path


@pytest.mark.parametrize("page", RUN)
def test_what_a_page_shows_works(page: str, photos: Path, environment: dict[str, str]) -> None:
    names: dict[str, object] = {}
    for snippet in RUN[page]:
        at = f"{page}:{snippet.line}"
        if snippet.kind == "python":
            exec(compile("\n" * (snippet.line - 1) + snippet.code, page, "exec"), names)
        elif snippet.kind == "console":
            for command, output in session(snippet.code):
                assert shape(shell(command, at, environment)) == shape(output), f"{at}: {command}"
        else:
            shell(snippet.code, at, environment)


def shell(code: str, at: str, env: dict[str, str]) -> str:
    """What commands print; the test fails if one of them does."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{at}: exit code {done.returncode}\n{code}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize(("page", "snippet"), NOT_RUN, ids=[f"{page}:{s.line}" for page, s in NOT_RUN])
def test_what_is_not_run_says_why(page: str, snippet: Snippet) -> None:
    pytest.skip(f"{page}:{snippet.line} is not run: {snippet.why_not}")
