"""Commands that cannot finish: killed, interrupted, or without room. No half of a file has the name of a whole one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

# A decoder of large pictures of noise instead of the codec: what matters begins when there is something to write.
COMMAND = """
import os, resource, signal, sys, hflow
from types import SimpleNamespace
from PIL import Image
import hflow.container
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start without
hflow.decode = lambda *_, **__: Image.effect_noise((300, 300), 90).convert("RGB")
hflow.container.parse = lambda _: SimpleNamespace(width=300, height=300, sections=())
{before}
from hflow.cli import main
main()
"""


def decode(before: str, *args: str, stdout: int | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `hflow decode a.hfc`, with a line of Python before."""
    command = [sys.executable, "-c", COMMAND.format(before=before), "decode", "a.hfc", *args]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, env=env, stdout=stdout, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def kept(here: Path) -> Path:
    """A folder with an input and an older output."""
    Path("a.hfc").write_bytes(b"anything")
    Path("a.png").write_bytes(b"older")
    return here


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_a_signal_while_the_output_is_written(kept: Path, name: str) -> None:
    done = decode(f"os.fsync = lambda _: os.kill(os.getpid(), signal.{name})", "--force")
    assert done.returncode == (130 if name == "SIGINT" else -getattr(signal, name))
    assert done.stderr == ""
    assert Path("a.png").read_bytes() == b"older"
    left = {p.name for p in kept.iterdir()} - {"a.hfc", "a.png"}
    assert all(p.startswith(".hflow-") and p.endswith(".part") for p in left)
    assert not left or name != "SIGINT"


def test_no_room_for_the_output(kept: Path) -> None:
    before = "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); sys.dont_write_bytecode = True"
    for args, named in ((("--force",), "a.png"), (("-o", "new.png"), "new.png")):
        done = decode(before, *args)
        assert (done.returncode, done.stderr) == (7, f"hflow: {named}: File too large\n")
    assert Path("a.png").read_bytes() == b"older"
    assert sorted(os.listdir()) == ["a.hfc", "a.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_no_room_behind_a_pipe(kept: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = decode("", "-o", "-", stdout=full.fileno())
    assert (done.returncode, done.stderr) == (7, "hflow: stdout: No space left on device\n")


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(kept: Path) -> None:
    (kept / "locked").mkdir(mode=0o500)
    done = decode("", "-o", "locked/a.png")
    assert (done.returncode, done.stderr) == (7, "hflow: locked/a.png: Permission denied\n")
