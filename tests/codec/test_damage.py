"""Damaged, forged and foreign files: always an error of one line, never a picture of something else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_bundle import picture

import hflow
from hflow.cli import main
from hflow.codec import decode as decoding
from hflow.codec import pixels
from hflow.codec.decode import MAX_PIXELS, indices
from hflow.codec.encode import pack
from hflow.codec.geometry import Geometry
from hflow.codec.rate import Coder
from hflow.container import Container, MaskSchedule, Profile, Section, Settings, parse, serialize
from hflow.container.crc import crc16
from hflow.errors import BundleError, FormatError, HflowError
from hflow.nets.bundle import Model

WIDTH, HEIGHT = 40, 37


@pytest.fixture(scope="module")
def data(tiny: Model) -> bytes:
    """A small file with both streams."""
    coder = Coder(tiny, Geometry(WIDTH, HEIGHT), pixels.trunk(tiny, picture(WIDTH, HEIGHT)))
    return pack(tiny, coder.geo, coder.code(30, 2, "1_2"))


@pytest.fixture
def no_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where a picture is made."""

    def made(*_: object) -> None:
        raise AssertionError("a picture was made of a damaged file")

    monkeypatch.setattr(pixels, "synthesize", made)


def refused(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        hflow.decode(data)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_pixels")
def test_every_truncation(data: bytes) -> None:
    for size in range(len(data)):
        refused(data[:size])


@pytest.mark.usefixtures("no_pixels")
def test_every_flipped_bit(data: bytes) -> None:
    for bit in range(8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        refused(bytes(broken))


@pytest.mark.usefixtures("no_pixels")
def test_shuffled_replaced_and_repeated_bytes(data: bytes) -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        body = np.frombuffer(data[14:-2], np.uint8)
        for payload in (rng.permutation(body).tobytes(), rng.bytes(len(body)), body[::-1].tobytes()):
            refused(data[:14] + payload + data[-2:])
    for more in (data[-1:], b"\0", data):
        refused(data + more)


@pytest.mark.usefixtures("no_pixels")
def test_what_is_no_file_at_all() -> None:
    rng = np.random.default_rng(1)
    for size in (0, 1, 2, 15, 16, 17, 300):
        refused(rng.bytes(size))
        refused(bytes(size))
    refused(b"\x89PNG\r\n\x1a\n" + bytes(40))


def sealed(data: bytes) -> bytes:
    """With a right checksum: what only a broken encoder or a forger writes."""
    return data[:-2] + crc16(data[:-2]).to_bytes(2, "little")


@pytest.mark.usefixtures("no_pixels")
def test_a_coded_mask_of_another_picture(data: bytes) -> None:
    file = parse(data)
    settings = replace(file.settings, mask=MaskSchedule.CODED)
    for content in (b"", b"x", b"\xff" * 9):
        sections = (file.sections[0], Section(2, content), file.sections[1])
        refused(serialize(replace(file, settings=settings, sections=sections)))


def forged_payloads(file: Container) -> Iterator[Container]:
    """Files with other bytes in one section, and right in every other respect."""
    rng = np.random.default_rng(2)
    for n, section in enumerate(file.sections):
        size = len(section.data)
        changed = []
        for _ in range(14):
            broken = bytearray(section.data)
            broken[rng.integers(size)] ^= int(rng.integers(1, 256))
            changed.append(bytes(broken))
        changed += [section.data[: size // 2], b"", rng.bytes(size), section.data + rng.bytes(3), b"\xff" * size]
        for content in changed:
            parts = list(file.sections)
            parts[n] = Section(section.kind, content)
            yield replace(file, sections=tuple(parts))


def test_other_entropy_coded_bytes_are_found_by_the_index_checksum(tiny: Model, data: bytes) -> None:
    want, refusals = indices(tiny, parse(data)), 0
    for forged in forged_payloads(parse(data)):
        try:
            found = indices(tiny, parse(serialize(forged)))
        except FormatError as error:
            assert "\n" not in str(error)
            refusals += 1
        else:  # surplus bytes, or a bit behind the last that says anything
            assert np.array_equal(found.y, want.y)
            assert np.array_equal(found.tokens, want.tokens)
    assert refusals > 30


def test_forged_headers_never_crash(data: bytes) -> None:
    """Any byte of the header, but for the picture's size: an error of ours, or a picture of the size that is named."""
    rng, outcomes = np.random.default_rng(3), set()
    for at in (3, 8, 9, 10, 11, 12, 13):
        for value in rng.choice(256, 14, replace=False):
            forged = sealed(data[:at] + bytes([value]) + data[at + 1 :])
            if forged == data:
                continue
            try:
                image = hflow.decode(forged)
            except HflowError as error:
                assert "\n" not in str(error)
                outcomes.add(type(error))
            else:
                assert image.size == (WIDTH, HEIGHT)
    assert {FormatError, BundleError} <= outcomes


@pytest.mark.usefixtures("no_pixels")
def test_a_wrong_index_checksum(data: bytes) -> None:
    file = parse(data)
    for bit in range(16):
        with pytest.raises(FormatError, match="do not match the file's checksum"):
            hflow.decode(serialize(replace(file, index_checksum=file.index_checksum ^ 1 << bit)))


@pytest.mark.usefixtures("no_pixels")
def test_another_size_with_other_grids(data: bytes) -> None:
    file = parse(data)
    for width, height in ((WIDTH + 32, HEIGHT), (WIDTH + 16, HEIGHT), (WIDTH, HEIGHT + 16), (1, 1), (300, 200)):
        refused(serialize(replace(file, width=width, height=height)))


@pytest.mark.usefixtures("no_pixels")
def test_streams_of_another_picture(tiny: Model, data: bytes) -> None:
    """The sections of two files with equal settings cannot be mixed."""
    coder = Coder(tiny, Geometry(WIDTH, HEIGHT), pixels.trunk(tiny, picture(WIDTH, HEIGHT, seed=9)))
    other, file = parse(pack(tiny, coder.geo, coder.code(30, 2, "1_2"))), parse(data)
    for sections in ((file.sections[0], other.sections[1]), (other.sections[0], file.sections[1])):
        refused(serialize(replace(file, sections=sections)))


@pytest.mark.usefixtures("no_pixels")
def test_latents_out_of_range(tiny: Model) -> None:
    """What the entropy coder can say and the format does not allow."""
    geo = Geometry(20, 20)
    z, y = np.zeros((1, 1, tiny.cfg.hyper), int), np.zeros((1, 1, tiny.cfg.latent), int)
    y[0, 0, 3] = 2**15
    writer = decoding.latents._Writer(tiny)
    with pytest.raises(FormatError, match="out of range"):
        decoding.latents._write(tiny, geo, 3, writer, z, y)
    section = Section(1, writer.coder.finish())
    settings = Settings(rate=4, m=0, mask=MaskSchedule.NONE, profile=Profile.HYBRID)
    with pytest.raises(FormatError, match="out of range"):
        hflow.decode(serialize(Container(20, 20, tiny.number, tiny.fingerprint, settings, 0, False, (section,))))


@pytest.mark.usefixtures("no_pixels")
def test_what_needs_a_newer_version(tiny: Model, data: bytes) -> None:
    file = parse(data)
    plain = replace(file.settings, mask=MaskSchedule.NONE)
    for settings, sections, match in (
        (replace(file.settings, rate=81), file.sections, "newer hflow"),
        (replace(file.settings, profile=Profile.ADACODE), file.sections, "newer hflow"),
        (replace(plain, m=tiny.cfg.m_max + 1), file.sections[:1], "sub-quantizers"),
    ):
        with pytest.raises(FormatError, match=match):
            hflow.decode(serialize(replace(file, settings=settings, sections=sections)))


@pytest.mark.usefixtures("no_pixels", "tiny_models")
def test_a_bomb_is_refused_before_anything_is_done(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(decoding, "for_file", lambda *_: pytest.fail("a bundle was loaded"))
    with pytest.raises(FormatError, match=f"limit of {MAX_PIXELS} pixels"):
        hflow.decode(serialize(replace(parse(data), width=65535, height=65535)))


@pytest.mark.usefixtures("tiny_models")
def test_a_limit_of_pixels(data: bytes, tmp_path: Path) -> None:
    size = WIDTH * HEIGHT
    assert hflow.decode(data, max_pixels=size).size == (WIDTH, HEIGHT)
    with pytest.raises(FormatError, match=f"{WIDTH}x{HEIGHT} is more than the limit of {size - 1} pixels"):
        hflow.decode(data, max_pixels=size - 1)
    path = tmp_path / "a.hfc"
    path.write_bytes(data)
    result = CliRunner().invoke(main, ["decode", str(path), "--max-pixels", str(size - 1), "--device", "cpu"])
    assert (result.exit_code, list(tmp_path.iterdir())) == (FormatError.exit_code, [path])
    assert CliRunner().invoke(main, ["decode", str(path), "--max-pixels", "0"]).exit_code == 2


@pytest.mark.usefixtures("no_pixels")
def test_an_empty_stage_with_bytes_in_it(tiny: Model) -> None:
    """Bytes that nobody reads could be anything: a chunk of a stage without tokens has to be empty."""
    coder = Coder(tiny, Geometry(16, 16), pixels.trunk(tiny, picture(16, 16)))
    choice = coder.code(10, 1, "all")
    choice = replace(choice, chunks=(*choice.chunks, b"", b"", b"", b""))
    assert hflow.codec.decode.indices(tiny, parse(pack(tiny, coder.geo, choice))).tokens is not None
    refused(pack(tiny, coder.geo, replace(choice, chunks=(*choice.chunks[:4], b"x"))))
