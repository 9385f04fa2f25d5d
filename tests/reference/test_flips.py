"""Damage to small files: an error, never other indices."""

from __future__ import annotations

import pytest

from hflow import reference
from hflow.container import parse
from hflow.container.crc import crc16
from hflow.errors import FormatError
from hflow.selftest import folder


def flips(data: bytes, first: int, last: int) -> list[bytes]:
    """All files with one bit of the bytes first..last-1 flipped."""
    number = int.from_bytes(data, "little")
    return [(number ^ 1 << bit).to_bytes(len(data), "little") for bit in range(8 * first, 8 * last)]


@pytest.mark.parametrize("name", ["1x1", "coded_mask_1", "cut_pq"])
def test_every_flipped_bit_and_every_truncation(name: str) -> None:
    """The container finds them, before anything is decoded."""
    data = (folder() / "decoded" / f"{name}.hfc").read_bytes()
    for broken in (*flips(data, 0, len(data)), *(data[:size] for size in range(len(data)))):
        with pytest.raises(FormatError):
            parse(broken)


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
