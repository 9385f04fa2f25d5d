"""Damaged files: what can be verified is the picture itself, and what cannot is said to be so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_bundle import picture

import hflow
from hflow.cli import main
from hflow.codec import pixels
from hflow.codec.decode import Indices, indices, predicted
from hflow.codec.encode import pack
from hflow.codec.geometry import Geometry
from hflow.codec.rate import Coder
from hflow.codec.salvage import salvage
from hflow.container import Section, parse, parse_cut, serialize
from hflow.errors import BundleError, FormatError
from hflow.nets.bundle import Model

WIDTH, HEIGHT = 70, 50


@pytest.fixture(scope="module")
def data(tiny: Model) -> bytes:
    """A small file with both streams."""
    coder = Coder(tiny, Geometry(WIDTH, HEIGHT), pixels.trunk(tiny, picture(WIDTH, HEIGHT)))
    return pack(tiny, coder.geo, coder.code(30, 2, "1_2"))


@pytest.fixture(scope="module")
def tokens_alone(tiny: Model) -> bytes:
    coder = Coder(tiny, Geometry(WIDTH, HEIGHT), pixels.trunk(tiny, picture(WIDTH, HEIGHT)))
    return pack(tiny, coder.geo, coder.code(None, 2, "1_2"))


def changed(data: bytes, *places: int) -> bytes:
    """With other bytes at these places."""
    out = bytearray(data)
    for n, at in enumerate(places):
        out[at] ^= 0x5A + n
    return bytes(out)


def same(a: Indices, b: Indices) -> bool:
    return all(np.array_equal(x, y) for x, y in ((a.y, b.y), (a.tokens, b.tokens), (a.sent, b.sent)))


def test_any_one_damaged_byte_is_put_right(tiny: Model, data: bytes) -> None:
    """Of header, lengths, streams and checksums."""
    want = indices(tiny, parse(data))
    for at in (*range(15), *range(15, len(data) - 2, 23), len(data) - 2, len(data) - 1):
        got = salvage(changed(data, at), device="cpu")
        assert got.verified and same(got.found, want), at
        assert got.note and "nothing is lost" in got.note
        assert f"byte {at} is put right" in got.note or "outside of the picture" in got.note


def test_damaged_metadata_are_left_out(tiny: Model, data: bytes) -> None:
    file = parse(data)
    long = serialize(replace(file, sections=(*file.sections, Section(7, b"\2" + bytes(99), critical=False))))
    image = hflow.decode(changed(long, len(long) - 60, len(long) - 20), salvage=True)
    assert image.tobytes() == hflow.decode(data).tobytes()
    assert "the metadata are lost, the indices match" in image.info["salvaged"]
    assert "xmp" not in image.info and "xmp" in hflow.decode(long).info


def test_with_damaged_tokens_the_continuous_stream_is_left(tiny: Model, data: bytes) -> None:
    want = indices(tiny, parse(data))
    got = salvage(changed(data, len(data) - 9, len(data) - 20), device="cpu")
    assert not got.verified and got.note
    assert "the tokens are dropped, nothing vouches for the continuous stream" in got.note
    assert np.array_equal(got.found.y, want.y) and got.found.tokens is None


def test_the_continuous_stream_is_right_up_to_the_damage(tiny: Model, data: bytes) -> None:
    want = indices(tiny, parse(data)).y
    stream = parse(data).continuous
    assert want is not None and stream is not None
    got = salvage(changed(data, 15 + len(stream) - 9, 15 + len(stream) - 5), device="cpu").found.y
    assert got is not None and not np.array_equal(got, want)
    first = tiny.cfg.slices[0]  # coded first
    assert np.array_equal(got[..., :first], want[..., :first])


def test_tokens_alone_are_decoded_unverified(tokens_alone: bytes) -> None:
    got = salvage(changed(tokens_alone, len(tokens_alone) - 9, len(tokens_alone) - 6), device="cpu")
    assert not got.verified and got.found.tokens is not None
    assert got.note == "damaged: nothing vouches for the picture"


def test_a_beginning_is_decoded_as_with_partial(tiny: Model, data: bytes) -> None:
    for size in (len(data) - 20, len(data) // 2):
        got = salvage(data[:size], device="cpu")
        assert not got.verified and got.note and got.note.startswith("cut off, at least")
        assert same(got.found, predicted(tiny, parse_cut(data[:size])[0]))


def test_only_the_checksum_is_missing(tiny: Model, data: bytes) -> None:
    got = salvage(data[:-2], device="cpu")
    assert got.verified and same(got.found, indices(tiny, parse(data)))


def test_an_intact_file_is_decoded_as_ever(data: bytes) -> None:
    image = hflow.decode(data, salvage=True)
    assert image.tobytes() == hflow.decode(data).tobytes()
    assert "salvaged" not in image.info


def test_indices_that_do_not_match_are_said_to(tiny: Model, data: bytes) -> None:
    """As a broken decoder would find them: the file itself is whole."""
    file = parse(data)
    got = salvage(serialize(replace(file, index_checksum=file.index_checksum ^ 1)), device="cpu")
    assert not got.verified and got.note and "nothing vouches" in got.note


def test_what_cannot_be_salvaged(data: bytes) -> None:
    for broken in (b"", data[:13], changed(data, 0, 1), changed(data, 3, 20), bytes(60), data[:14]):
        with pytest.raises(FormatError):
            hflow.decode(broken, salvage=True)
    with pytest.raises(FormatError, match="limit"):
        hflow.decode(data, salvage=True, max_pixels=WIDTH * HEIGHT - 1)
    with pytest.raises(BundleError):
        hflow.decode(serialize(replace(parse(data), bundle=99)), salvage=True)


@pytest.mark.usefixtures("tiny_models")
def test_command(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.hfc").write_bytes(changed(data, 40))
    Path("b.hfc").write_bytes(changed(data, 0, 1, 2))

    def run(*args: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(main, ["decode", *args, "--device", "cpu"])
        return result.exit_code, result.stdout, result.stderr

    assert run("a.hfc")[0] == FormatError.exit_code
    note = "damaged, byte 40 is put right: nothing is lost, the indices match their checksum"
    code, out, err = run("a.hfc", "--salvage", "--json-lines", "--quiet")
    assert (code, err) == (0, f"hflow: a.hfc: {note}\n")
    assert json.loads(out)["salvaged"] == note
    assert Image.open("a.png").size == (WIDTH, HEIGHT)
    code, _, err = run("b.hfc", "--salvage")
    assert code == FormatError.exit_code and err.count("\n") == 1 and "b.hfc" in err
    assert not Path("b.png").exists()
