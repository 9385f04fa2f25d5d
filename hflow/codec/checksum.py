"""The checksum of the decoded indices, which turns a wrong decode into an error."""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Sequence

import numpy as np


def index_checksum(
    digest: bytes, y: np.ndarray | None, tokens: np.ndarray | None, layers: Sequence[np.ndarray] = ()
) -> int:
    """CRC-16 (CCITT-FALSE) over what `serialized` gives."""
    crc = 0xFFFF
    for part in serialized(digest, y, tokens, layers):
        crc = binascii.crc_hqx(part, crc)
    return crc


def serialized(
    digest: bytes, y: np.ndarray | None, tokens: np.ndarray | None, layers: Sequence[np.ndarray]
) -> Iterator[bytes]:
    """The bundle's SHA-256, y (int16, little-endian), all tokens (one byte each), and y of each enhancement layer."""
    yield digest
    if y is not None:
        yield y.astype("<i2").tobytes()
    if tokens is not None:
        yield tokens.astype(np.uint8).tobytes()
    for layer in layers:
        yield layer.astype("<i2").tobytes()
