"""Targets, text, regions, prefixes and truncation on the command line, with a tiny bundle."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_bundle import picture

from hflow.cli import main
from hflow.text import from_text

pytestmark = pytest.mark.usefixtures("tiny_models", "one_thread")


@pytest.fixture
def photo(here: Path) -> str:
    Image.fromarray(picture(160, 96)).save("in.png")
    return "in.png"


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


@pytest.mark.parametrize(("size", "most"), [("150", 150), ("150B", 150), ("0.2kB", 200), ("0.2KiB", 204)])
def test_size(photo: str, size: str, most: int) -> None:
    assert run("encode", photo, "--size", size).exit_code == 0
    assert 0.8 * most < Path("in.hfc").stat().st_size <= most


@pytest.mark.parametrize(("kind", "most"), [((), 224), (("base64",), 210)])
def test_text_of_so_many_characters(photo: str, kind: tuple[str, ...], most: int) -> None:
    result = run("encode", photo, "--size", "280chars", "--text", *kind)
    assert result.exit_code == 0, result.output
    text = Path("in.txt").read_text().strip()
    assert 220 < len(text) <= 280
    assert run("decode", "in.txt", "-o", "out.png").exit_code == 0
    assert Image.open("out.png").size == (160, 96)
    assert "160 x 96" in run("inspect", "in.txt").stdout
    assert len(from_text(text.encode())) <= most


def test_quality(photo: str) -> None:
    sizes = []
    for quality in ("0", "50", "100"):
        assert run("encode", photo, "--quality", quality, "--force").exit_code == 0
        sizes.append(Path("in.hfc").stat().st_size)
    assert sizes == sorted(set(sizes))


def test_truncate_and_partial(photo: str) -> None:
    run("encode", photo, "--size", "300")
    result = run("truncate", "in.hfc", "-o", "cut.hfc", "--size", "200")
    assert result.exit_code == 0 and "-> 200 bytes" in result.stdout
    assert run("decode", "cut.hfc").exit_code == 0
    whole = Path("in.hfc").read_bytes()
    Path("part.hfc").write_bytes(whole[:120])
    refused = run("decode", "part.hfc", "-o", "part.png")
    assert refused.exit_code == 4 and "bytes missing" in refused.stderr and not Path("part.png").exists()
    result = run("decode", "part.hfc", "-o", "part.png", "--partial")
    assert result.exit_code == 0
    found = re.search(r"the first 120 of at least (\d+) bytes", result.stderr)
    assert found and 120 < int(found[1]) <= len(whole)
    assert Image.open("part.png").size == (160, 96)


def test_roi_as_rectangle_and_as_mask(photo: str) -> None:
    mask = np.zeros((96, 160), np.uint8)
    mask[10:30, 40:80] = 255
    Image.fromarray(mask).save("mask.png")
    assert run("encode", photo, "--size", "200", "--roi", "40,10,40,20", "-o", "a.hfc").exit_code == 0
    assert run("encode", photo, "--size", "200", "--roi", "mask.png", "-o", "b.hfc").exit_code == 0
    assert Path("a.hfc").read_bytes() == Path("b.hfc").read_bytes()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("encode", "in.png", "--size", "10"), 6, "10 bytes are too few for 160x96 pixels: this picture takes"),
        (("encode", "in.png", "--size", "many"), 2, "'many' is not a size such as 500, 1.5kB or 280chars"),
        (("encode", "in.png", "--size", "0"), 2, "at least one byte"),
        (("encode", "in.png", "--size", "280chars"), 2, "needs --text"),
        (("encode", "in.png", "--size", "100", "--bpp", "1"), 2, "--bpp and --size exclude each other"),
        (("encode", "in.png", "--quality", "101"), 2, "from 0 to 100"),
        (("encode", "in.png", "--roi", "100,0,100,9"), 3, "in.png: the region 100,0,100,9 is not within 160x96"),
        (("encode", "in.png", "--roi", "1,2,3"), 2, "is not x,y,width,height"),
        (("encode", "in.png", "--roi", "no.png"), 3, "no.png: No such file"),
        (("encode", "in.png", "--roi", "small.png"), 3, "the mask is 9x9, the picture 160x96"),
        (("truncate", "in.hfc"), 2, "one of --bpp and --size is needed"),
    ],
)
def test_what_is_refused(photo: str, args: tuple[str, ...], code: int, message: str) -> None:
    Image.new("L", (9, 9), 255).save("small.png")
    result = run(*args)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("in.hfc").exists()


def test_a_map_of_where_bits_go(photo: str) -> None:
    run("encode", photo, "--size", "300", "--masking", "1_4")
    result = run("inspect", "in.hfc", "--map", "map.png")
    assert result.exit_code == 0, result.output
    assert "guessed" in result.stdout and "bits per cell" in result.stdout
    assert Image.open("map.png").size == (160, 96)
    assert run("inspect", "in.hfc", "--map", "map.png").exit_code == 7
    about = json.loads(run("inspect", "in.hfc", "--map", "map.png", "--force", "--json").stdout)
    assert sum(about["guessed"].values()) == 60
    assert run("inspect", "in.hfc", "in.hfc", "--map", "m.png").exit_code == 2


def test_masking(photo: str) -> None:
    assert run("encode", photo, "--size", "300", "--masking", "complexity").exit_code == 0
    assert "coded" in run("inspect", "in.hfc").stdout


def test_progressive(photo: str) -> None:
    """In layers, at its size, cut to a smaller file, looked at; and what does not go with it."""
    assert run("encode", photo, "--progressive", "--size", "250").exit_code == 0
    assert Path("in.hfc").stat().st_size <= 250
    assert run("truncate", "in.hfc", "-o", "small.hfc", "--size", "150").exit_code == 0
    assert Path("small.hfc").stat().st_size <= 150
    about = json.loads(run("inspect", "in.hfc", "--json", "--map", "map.png").stdout)
    assert [s["name"] for s in about["sections"]].count("enhancement") >= 1
    assert about["cell_bits"]["mean"] * 15 > 8 * sum(s["bytes"] for s in about["sections"]) - 60
    assert run("decode", "small.hfc", "--partial").exit_code == 0
    for option in (("--effort", "3"), ("--masking", "1_4")):
        result = run("encode", photo, "--progressive", "--force", *option)
        assert result.exit_code == 2 and "--progressive does not go with" in result.stderr
