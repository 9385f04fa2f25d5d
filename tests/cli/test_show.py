"""`hflow show`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_bundle import picture

import hflow
from hflow.cli import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["show", *args])


def test_a_character_shows_one_pixel_above_another() -> None:
    image = Image.new("RGB", (1, 2), "red")
    image.putpixel((0, 1), (0, 0, 255))
    image.save("a.png")
    assert run("a.png").stdout == "\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[0m\n"


def test_fits_the_terminal_or_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    def shape(*args: str) -> tuple[int, int]:
        lines = re.sub(r"\x1b\[[0-9;]*m", "", run(*args).stdout).splitlines()
        return len(lines[0]), len(lines)

    Image.new("RGB", (400, 200)).save("wide.png")
    Image.new("RGB", (200, 4000)).save("tall.png")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    assert shape("wide.png") == (80, 20)
    assert shape("tall.png") == (2, 23)
    assert shape("wide.png", "--width", "100") == (100, 25)


def test_several_files_are_named_and_hfc_files_decoded(tiny_models: Path) -> None:
    data = hflow.encode(picture(70, 50), 2.0)
    Path("a.hfc").write_bytes(data)
    hflow.decode(data).save("a.png")
    seen = run("a.hfc", "a.png", "--width", "20").stdout
    first, second = re.split(r"a\.hfc\n|a\.png\n", seen)[1:]
    assert first == second != ""


def test_a_missing_file_is_one_line() -> None:
    result = run("missing.png")
    assert (result.exit_code, result.stderr) == (3, "hflow: missing.png: No such file or directory\n")
