"""The files that one changed byte may have come from."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hflow.container.crc import crc16
from hflow.container.repair import repairs


def sealed(body: bytes) -> bytes:
    return body + crc16(body).to_bytes(2, "little")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=600), st.integers(0), st.integers(1, 255))
def test_the_file_is_among_the_repairs_and_each_of_them_is_one(body: bytes, place: int, change: int) -> None:
    data = sealed(body)
    damaged = bytearray(data)
    damaged[place % len(data)] ^= change
    found = list(repairs(bytes(damaged)))
    assert data in found
    assert len(set(found)) == len(found)
    for file in found:
        assert file == sealed(file[:-2])
        assert sum(a != b for a, b in zip(file, damaged, strict=True)) == 1


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=600), st.integers(0))
def test_a_flipped_bit_is_the_first_guess(body: bytes, place: int) -> None:
    data = sealed(body)
    damaged = bytearray(data)
    damaged[place // 8 % len(data)] ^= 1 << place % 8
    assert next(repairs(bytes(damaged))) == data


def test_what_is_right_needs_no_repair_and_nothing_has_none() -> None:
    assert list(repairs(sealed(b"right"))) == []
    assert list(repairs(b"")) == list(repairs(b"x")) == []
