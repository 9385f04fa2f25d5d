"""hflow encode --effort: options, limits, and Ctrl-C."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_bundle import picture

import hflow
from hflow.cli import main

pytestmark = pytest.mark.usefixtures("here", "tiny_models")
PLAIN = ("--size", "300", "--masking", "none")


@pytest.fixture(autouse=True)
def _photo(here: Path) -> None:
    Image.fromarray(picture(96, 70)).save("a.png")


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def error(path: str) -> float:
    found, truth = hflow.decode(Path(path).read_bytes()), Image.open("a.png")
    return float(np.square(np.asarray(found, dtype=float) - np.asarray(truth, dtype=float)).mean())


def test_effort_brings_the_file_nearer_to_the_picture() -> None:
    assert run("encode", "a.png", "-o", "0.hfc", *PLAIN).exit_code == 0
    assert run("encode", "a.png", "-o", "4.hfc", *PLAIN, "--effort", "4", "--tune", "psnr").exit_code == 0
    assert Path("4.hfc").stat().st_size <= 300
    assert error("4.hfc") < error("0.hfc")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--effort", "10"), "10 is not in the range 0<=x<=9"),
        (("--time-limit", "soon"), "'soon' is not a time such as 20s or 1.5m."),
        (("--effort", "2", "--roi", "0,0,8,8"), "does not go with --roi"),
    ],
)
def test_mistakes(options: tuple[str, ...], message: str) -> None:
    found = run("encode", "a.png", *PLAIN, *options)
    assert found.exit_code == 2
    assert message in found.stderr
    assert not Path("a.hfc").exists()


def test_no_time_at_all_gives_the_file_of_effort_0() -> None:
    assert run("encode", "a.png", "-o", "0.hfc", *PLAIN).exit_code == 0
    assert run("encode", "a.png", "-o", "9.hfc", *PLAIN, "--effort", "9", "--time-limit", "0s").exit_code == 0
    assert Path("9.hfc").read_bytes() == Path("0.hfc").read_bytes()


# Ctrl-C at the third step of the first picture, once or twice.
PRESSED = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start without
import torch
torch.set_num_threads(1)
from hflow.codec.refine import Search
step = Search.step
def pressed(self):
    step(self)
    if self.steps == 3:
        for _ in range({times}):
            os.kill(os.getpid(), signal.SIGINT)
Search.step = pressed
from hflow.cli import main
main()
"""


def interrupted(times: int) -> subprocess.CompletedProcess[str]:
    code = PRESSED.format(times=times)
    command = [sys.executable, "-c", code, "encode", "a.png", "b.png", *PLAIN, "--effort", "9", "--jobs", "1"]
    return subprocess.run(command, capture_output=True, text=True)


def test_ctrl_c_keeps_the_best_file_so_far_and_begins_no_other() -> None:
    Image.fromarray(picture(96, 70, 1)).save("b.png")
    found = interrupted(1)
    assert found.returncode == 130, found.stderr
    assert hflow.decode(Path("a.hfc").read_bytes()).size == (96, 70)
    assert not Path("b.hfc").exists()


def test_a_second_ctrl_c_leaves_nothing() -> None:
    found = interrupted(2)
    assert found.returncode == 130, found.stderr
    assert not list(Path().glob("*.hfc*"))


def test_the_options_are_those_of_the_search() -> None:
    """Help names them without loading torch, so they are written down twice."""
    from hflow.cli import effort
    from hflow.codec.refine import STEPS, TUNES

    assert len(STEPS) - 1 == effort.HIGHEST and tuple(TUNES) == effort.TUNES
