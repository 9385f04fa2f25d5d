"""The command line with a real bundle, from a picture on disk to a picture on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_bundle import NAME, NUMBER, picture

import hflow
from hflow.cli import main


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_models: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture(96, 61)).save("in.png")
    return tmp_path


def test_encode_inspect_decode(here: Path) -> None:
    done = run("encode", "in.png", "-o", "a.hfc", "--bpp", "0.25", "--device", "cpu")
    assert (done.exit_code, done.stderr) == (0, "")
    data = Path("a.hfc").read_bytes()
    assert 8 * len(data) / (96 * 61) <= 0.25
    assert done.stdout == f"in.png -> a.hfc  {len(data):,} bytes  {8 * len(data) / (96 * 61):.5f} bpp\n"
    assert data == hflow.encode(picture(96, 61), 0.25)

    about = json.loads(run("inspect", "a.hfc", "--json").stdout)
    assert (about["width"], about["height"], about["bytes"]) == (96, 61, len(data))
    assert about["bpp"] == pytest.approx(8 * len(data) / (96 * 61))
    assert about["bundle"]["number"] == NUMBER
    assert about["bundle"]["name"] == NAME
    assert about["overhead"] + sum(s["bytes"] for s in about["sections"]) == len(data)
    assert about["tokens"]["grid"] == [4, 6]

    done = run("decode", "a.hfc", "-o", "out.png", "--device", "cpu")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "a.hfc -> out.png  96 x 61\n", "")
    with Image.open("out.png") as out:
        assert (out.size, out.mode) == ((96, 61), "RGB")
        assert (np.asarray(out) == np.asarray(hflow.decode(data))).all()

    assert run("decode", "a.hfc", "-o", "flat.png", "--fidelity", "0").exit_code == 0
    assert Path("flat.png").read_bytes() != Path("out.png").read_bytes()


@pytest.mark.parametrize("damage", ["flip", "cut", "foreign"])
def test_a_damaged_file(here: Path, damage: str) -> None:
    data = bytearray(hflow.encode(picture(96, 61), 0.25))
    data[30] ^= 1
    Path("bad.hfc").write_bytes({"flip": data, "cut": data[:40], "foreign": b"GIF89a" + data}[damage])
    before = sorted(p.name for p in here.iterdir())
    done = run("decode", "bad.hfc", "-o", "out.png")
    assert done.exit_code == 4
    assert done.stdout == ""
    assert done.stderr.startswith("hflow: bad.hfc: ")
    assert done.stderr.count("\n") == 1
    assert sorted(p.name for p in here.iterdir()) == before


def test_indices_that_do_not_match(here: Path) -> None:
    """Damage that only the decoded indices show is an error like any other."""
    from dataclasses import replace

    from hflow.container import parse, serialize

    file = parse(hflow.encode(picture(96, 61), 0.25))
    Path("bad.hfc").write_bytes(serialize(replace(file, index_checksum=file.index_checksum ^ 1)))
    done = run("decode", "bad.hfc", "-o", "out.png")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert not Path("out.png").exists()


def test_a_missing_bundle(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from hflow.container import parse, serialize

    file = replace(parse(hflow.encode(picture(96, 61), 0.25)), bundle=NUMBER - 1)
    Path("a.hfc").write_bytes(serialize(file))
    done = run("decode", "a.hfc", "-o", "out.png")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (5, "", 1)
    assert f"bundle {NUMBER - 1} is not installed" in done.stderr
    assert json.loads(run("inspect", "a.hfc", "--json").stdout)["bundle"]["name"] is None
    assert not Path("out.png").exists()


def test_a_target_out_of_reach(here: Path) -> None:
    done = run("encode", "in.png", "-o", "a.hfc", "--bpp", "0.001")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (6, "", 1)
    assert "bytes are too few" in done.stderr
    assert not Path("a.hfc").exists()


def test_a_folder_there_and_back(here: Path) -> None:
    Path("pictures").mkdir()
    for k, (width, height) in enumerate([(40, 30), (1, 1), (65, 17)]):
        Image.fromarray(picture(width, height, k)).save(f"pictures/{k}.png")
    done = run("encode", "pictures", "-o", "files", "--bpp", "2", "--quiet")
    assert done.exit_code == 6  # one pixel in two bits cannot be; the others are done all the same
    assert sorted(p.name for p in Path("files").iterdir()) == ["0.hfc", "2.hfc"]
    assert run("decode", "files", "-o", "back").exit_code == 0
    assert [Image.open(f"back/{k}.png").size for k in (0, 2)] == [(40, 30), (65, 17)]
