"""Unsigned LEB128: seven bits a byte, low bits first, the top bit says that more follow."""

from collections.abc import Callable

from hflow.errors import FormatError

MAX_BYTES = 5


def write_varint(value: int) -> bytes:
    """The shortest encoding of `value`, 0 <= value < 2**35, in 1..5 bytes. ValueError outside that range."""
    if not 0 <= value < 1 << 7 * MAX_BYTES:
        raise ValueError(f"varint out of range: {value}")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(next_byte: Callable[[], int]) -> int:
    """Read one varint from successive calls of `next_byte` (0..255 each).

    FormatError if it is longer than 5 bytes or than it needs to be: one value has one encoding.
    """
    value = 0
    for shift in range(0, 7 * MAX_BYTES, 7):
        byte = next_byte()
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise FormatError("malformed: a length is not written in its shortest form")
            return value
    raise FormatError(f"malformed: a length takes more than {MAX_BYTES} bytes")
