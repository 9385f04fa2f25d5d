"""File bytes to indices, and their checksum (decoding.md, sections 2 and 6)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hflow.container import Container, Profile, parse
from hflow.errors import BundleError, FormatError
from hflow.reference.bundle import find, load
from hflow.reference.latent import RATES, anchor_rate, continuous, enhancement
from hflow.reference.masks import sent_grid
from hflow.reference.predictor import context
from hflow.reference.tokens import tokens

MAX_PIXELS = 2**28


@dataclass(frozen=True)
class Indices:
    """y (h, w, C) or None, tokens (rows, columns, m) or None, and the bytes that checksums of them are taken over.

    layers: y of each enhancement layer, from coarse to fine.
    """

    y: np.ndarray | None
    tokens: np.ndarray | None
    digest: bytes
    stored: int  # the file's index checksum
    layers: tuple[np.ndarray, ...] = ()

    @property
    def serialized(self) -> bytes:
        """Section 6."""
        y = b"" if self.y is None else self.y.astype("<i2").tobytes()
        q = b"" if self.tokens is None else self.tokens.astype("u1").tobytes()
        return self.digest + y + q + b"".join(layer.astype("<i2").tobytes() for layer in self.layers)

    @property
    def checksum(self) -> int:
        return crc16(self.serialized)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.serialized).hexdigest()


def decode(data: bytes, bundle: Path | None = None) -> Indices:
    """The indices of a file. FormatError, too, if they do not match its checksum; BundleError without its bundle.

    bundle: the folder of the bundle to use, by default the installed one that the file names.
    """
    found = read(data, bundle)
    if found.checksum != found.stored:
        raise FormatError(f"the indices have checksum {found.checksum:04x}, the file says {found.stored:04x}")
    return found


def read(data: bytes, bundle: Path | None = None) -> Indices:
    """The same without the last check."""
    file = parse(data)
    check(file)
    using = load(bundle or find(file.bundle))
    settings = file.settings
    if using.number != file.bundle:
        raise BundleError(f"the file needs bundle {file.bundle}, this is bundle {using.number}")
    if using.digest[0] != file.fingerprint:
        raise BundleError(f"the file's bundle has fingerprint {file.fingerprint:02x}, this one {using.digest[0]:02x}")
    if settings.m > using.m_max:
        raise FormatError(f"{settings.m} sub-quantizers, but the bundle has {using.m_max}")
    h, w = -(-file.height // 32), -(-file.width // 32)
    above = [data for data in file.enhancements if data]
    cut = file.cut and not above  # an enhancement says that what it follows is whole
    y = q = None
    if settings.rate > 0:
        y = continuous(using, file.continuous or b"", cut, settings.rate, h, w)
    if has_tokens(replace(file, cut=cut)):
        anchor = anchor_rate(settings.rate, using)
        ctx = context(using, np.zeros((h, w, using.channels), np.int64) if y is None else y, anchor)
        sent = sent_grid(settings.mask.label, file.mask_data, (-(-file.height // 16), -(-file.width // 16)))
        q = tokens(using, file.index_chunks, cut, sent, settings.m, ctx)
    layers: list[np.ndarray] = []
    rate, below = settings.rate, y
    for n, data in enumerate(above):
        assert below is not None  # a file with enhancements has a rate
        rate, below = enhancement(using, data, file.cut and n == len(above) - 1, (rate, below))
        layers.append(below)
    return Indices(y, q, using.digest, file.index_checksum, tuple(layers))


def check(file: Container) -> None:
    """Section 2: what this version refuses."""
    if file.width * file.height > MAX_PIXELS:
        raise FormatError(f"{file.width}x{file.height} is more than the limit of {MAX_PIXELS} pixels")
    if file.settings.rate > RATES:
        raise FormatError(f"rate {file.settings.rate} needs a newer version")
    if file.settings.profile == Profile.ADACODE:
        raise FormatError("the profile adacode needs a newer version")


def has_tokens(file: Container) -> bool:
    """Section 4.3: without a byte of them a cut file has none, and is refused if it has nothing else."""
    if not file.cut:
        return file.settings.m > 0
    found = file.settings.m > 0 and any(file.index_chunks)
    if not found and file.settings.rate == 0:
        raise FormatError("too short: no token of the picture is there")
    return found


def crc16(data: bytes) -> int:
    """container.md, section 1.3."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc
