"""Damage to small files: an error, never other indices."""

from __future__ import annotations

import pytest

from hflow import reference
from hflow.codec.decode import decoded, predicted
from hflow.container import parse, parse_cut
from hflow.container.crc import crc16
from hflow.errors import FormatError
from hflow.nets.bundle import load
from hflow.selftest import folder

NAMES = ["1x1", "coded_mask_1", "cut_pq"]  # with every kind of section


def flips(data: bytes, first: int, last: int) -> list[bytes]:
    """All files with one bit of the bytes first..last-1 flipped."""
    number = int.from_bytes(data, "little")
    return [(number ^ 1 << bit).to_bytes(len(data), "little") for bit in range(8 * first, 8 * last)]


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_and_every_truncation(name: str) -> None:
    """The container finds them, before anything is decoded."""
    data = (folder() / "decoded" / f"{name}.hfc").read_bytes()
    for broken in (*flips(data, 0, len(data)), *(data[:size] for size in range(len(data)))):
        with pytest.raises(FormatError):
            parse(broken)


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_taken_as_the_beginning_of_a_picture(name: str) -> None:
    """Too short, or the size of the picture with no token that is not the file's own."""
    data, model = (folder() / "decoded" / f"{name}.hfc").read_bytes(), load(folder() / "bundle")
    whole, pictures = decoded(model, parse(data)), 0
    for size in range(len(data)):
        try:
            file, missing = parse_cut(data[:size])
            found = predicted(model, file)
        except FormatError as error:
            assert "too short" in str(error) and not pictures
            continue
        pictures += 1
        assert missing and found.geometry == whole.geometry
        if found.sent is not None:
            assert whole.sent is not None and whole.tokens is not None and found.tokens is not None
            assert (whole.sent | ~found.sent).all()
            assert (found.tokens[found.sent] == whole.tokens[found.sent]).all()
    assert pictures


def test_flipped_bits_behind_a_right_crc() -> None:
    """Where the container's checksum was made to fit, that of the indices is left."""
    data, bundle = (folder() / "decoded/1x1.hfc").read_bytes(), folder() / "bundle"
    want, refusals = reference.decode(data, bundle), 0
    for broken in flips(data[:-2], 15, len(data) - 2):
        try:
            found = reference.decode(broken + crc16(broken).to_bytes(2, "little"), bundle)
        except FormatError:
            refusals += 1
        else:  # a bit behind the last that says anything
            assert found.serialized == want.serialized
    assert refusals > 40
