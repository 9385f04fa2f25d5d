"""The tables on rate control and effort: targets, prefixes, maskings, messages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_bundle import NAME, picture

from hflow import bundles
from hflow.bench.maskings import saving
from hflow.bench.messages import crop
from hflow.cli import main
from hflow.text import from_text

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def photos(tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bundles, "default", lambda: tiny_models / NAME)
    folder = tmp_path / "photos"
    folder.mkdir()
    for n, size in enumerate(((300, 270), (280, 350))):
        Image.fromarray(picture(*size, seed=n)).save(folder / f"{n}.png")
    return folder


def run(*args: str | Path) -> str:
    result = CliRunner().invoke(main, ["bench", *map(str, args)])
    assert result.exit_code == 0, result.output
    return result.stdout


def numbers(text: str, start: str) -> list[float]:
    line = next(line for line in text.splitlines() if line.startswith(start))
    return [float(v) for v in re.findall(r"\d+(?:\.\d+)?", line[len(start) :])]


def test_targets(photos: Path) -> None:
    text = run("targets", photos, "--bpp", "0.2", "--bytes", "900,5")
    for start in ("| 0.2 bpp |", "| 900 bytes |"):
        files, over, mean, largest, time = numbers(text, start)
        assert (files, over) == (2, 0)
        assert 0 <= mean <= largest < 20 and time > 0
    assert "| 5 bytes |" not in text  # out of reach


def test_effort_goes_on_where_it_ended(photos: Path, tmp_path: Path) -> None:
    """With one picture measured before; the times show that it is not measured again."""
    kept, given = tmp_path / "kept.json", ["--bpp", "0.2", "--efforts", "0,1", "--resume", tmp_path / "kept.json"]
    first = run("effort", photos, *given, "--limit", "1")
    before = json.loads(kept.read_text())["rows"]
    both = run("effort", photos, *given)
    after = json.loads(kept.read_text())["rows"]
    assert after[: len(before)] == before and [row["picture"] for row in after] == ["0.png", "1.png"]
    assert "| 0.2 | 1 | 1 |" in first and "| 0.2 | 2 | 1 |" in both
    assert run("effort", photos, *given, "--limit", "1") == first


@pytest.mark.parametrize(("text", "said"), [("[]", "not the measurements"), (None, "measured otherwise: bundle ")])
def test_effort_does_not_mix_measurements(photos: Path, tmp_path: Path, text: str | None, said: str) -> None:
    kept, given = tmp_path / "kept.json", ["effort", photos, "--bpp", "0.2", "--limit", "1"]
    if text is None:
        run(*given, "--efforts", "0", "--resume", kept)
    else:
        kept.write_text(text)
    result = CliRunner().invoke(main, ["bench", *map(str, given), "--efforts", "0,1", "--resume", str(kept)])
    assert result.exit_code not in (0, 1) and f"{kept}: {said}" in result.stderr


def test_prefixes(photos: Path, tmp_path: Path) -> None:
    text = run("prefixes", photos, "--bpp", "0.3", "-o", tmp_path / "out")
    psnr, cut, _, _, direct = numbers(text, "| 100 % |")[:5]
    part = numbers(text, "| 50 % |")
    assert psnr == cut == direct > part[0]
    assert (tmp_path / "out" / "prefixes.md").read_text() in text
    assert (tmp_path / "out" / "prefixes.svg").read_text().startswith("<?xml")


def test_masking(photos: Path) -> None:
    text = run("masking", photos, "--bpp", "0.2,0.4", "--limit", "1")
    for kind in ("1_4", "complexity", "all", "none", "auto"):
        assert text.count(f"| {kind} | 0.") == 2


def test_saving_is_what_the_curves_say() -> None:
    base = [(0.1, 20.0, 0.5), (0.2, 22.0, 0.4), (0.4, 24.0, 0.3)]
    half = [(b / 2, p, v) for b, p, v in base]
    for column in (1, 2):
        assert saving(half, base, column) == pytest.approx(50)
        assert saving(base, half, column) == pytest.approx(-100)
    assert saving([(0.1, 30.0, 0.1), (0.2, 31.0, 0.05)], base, 1) is None


def test_messages(photos: Path, tmp_path: Path) -> None:
    run("messages", photos, "--size", "400", "-o", tmp_path / "out")
    page = (tmp_path / "out" / "README.md").read_text()
    texts = re.findall(r"^    (\S+)$", page, re.M)
    assert len(texts) == 2
    assert all(len(from_text(t.encode())) <= 400 for t in texts)
    assert Image.open(tmp_path / "out" / "messages.webp").size == (4 * 524, 268)
    assert crop(np.zeros((700, 512, 3), np.uint8)).shape == (256, 256, 3)
