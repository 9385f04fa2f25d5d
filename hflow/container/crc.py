"""The checksum of a container."""

import binascii


def crc16(data: bytes, start: int = 0xFFFF) -> int:
    """CRC-16/CCITT-FALSE of `data` (polynomial 0x1021, start 0xFFFF, not reflected), 0..65535."""
    return binascii.crc_hqx(data, start)
