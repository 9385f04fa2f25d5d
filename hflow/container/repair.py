"""Files that a damaged one may have been: those that differ from it in one byte and have a right checksum."""

from __future__ import annotations

from collections.abc import Iterator

from hflow.container.crc import crc16
from hflow.container.model import CRC_SIZE

TABLE = [crc16(bytes([n]), 0) for n in range(256)]  # what a byte makes of a register of zeros
BACK = {entry & 0xFF: n for n, entry in enumerate(TABLE)}  # the low byte of an entry says which it is


def repairs(data: bytes) -> Iterator[bytes]:
    """Every file that is `data` with another value of one byte and has a right checksum, fewest flipped bits first.

    A single flipped bit is found among the first for files below 4 kB; of other files, about one byte in 256 can be
    made to fit by chance, so only another checksum can tell. Nothing for data whose checksum is right.
    """
    body, stored = data[:-CRC_SIZE], int.from_bytes(data[-CRC_SIZE:], "little")
    if len(data) < CRC_SIZE or not (state := crc16(body) ^ stored):
        return
    changes = [(len(body) + n, byte) for n, byte in enumerate(state.to_bytes(2, "little")) if byte << 8 * n == state]
    for at in reversed(range(len(body))):
        # The register is linear: what a changed byte does to it is what it would do alone, among zeros. One step back.
        entry = BACK[state & 0xFF]
        state = entry << 8 | (state ^ TABLE[entry]) >> 8
        if not state & 0xFF:
            changes.append((at, state >> 8))
    for at, change in sorted(changes, key=lambda c: c[1].bit_count()):
        yield data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
