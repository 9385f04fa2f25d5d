"""The 16-bit checksum of the decoded indices, which turns a wrong decode into an error."""

from __future__ import annotations

import binascii

import numpy as np


def index_checksum(digest: bytes, y: np.ndarray | None, tokens: np.ndarray | None) -> int:
    """CRC-16 (CCITT-FALSE) over the bundle's SHA-256, y (int16, little-endian) and all tokens (one byte each)."""
    crc = binascii.crc_hqx(digest, 0xFFFF)
    if y is not None:
        crc = binascii.crc_hqx(y.astype("<i2").tobytes(), crc)
    if tokens is not None:
        crc = binascii.crc_hqx(tokens.astype(np.uint8).tobytes(), crc)
    return crc
