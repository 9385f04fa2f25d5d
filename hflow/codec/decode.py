"""`.hfc` bytes to an image: container, continuous stream, tokens and fill-in, fusion decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from hflow.codec import latents, pixels, tokens
from hflow.codec.checksum import index_checksum
from hflow.codec.geometry import LEVELS, Geometry
from hflow.codec.pixels import Progress
from hflow.container import Container, MaskSchedule, Profile, parse
from hflow.errors import FormatError
from hflow.nets.bundle import Model, for_file, pick_device

MAX_PIXELS = 2**28


@dataclass(frozen=True)
class Indices:
    """What a file decodes to before any float is involved. y (h, w, C), tokens (th, tw, m) with the fill-in."""

    geometry: Geometry
    level: int | None
    y: np.ndarray | None
    tokens: np.ndarray | None
    mask: str


def decode(data: bytes, *, fidelity: float = 1.0, device: str = "auto", progress: Progress = None) -> Image.Image:
    """Decodes a file's bytes to an RGB image.

    fidelity: strength of the continuous correction, 0 (codebook only) to 1 (default); more exaggerates.
    progress: called with the share done. Raises FormatError for bytes that are no intact `.hfc` file, BundleError for
    a missing bundle.
    """
    file = parse(data)
    check(file)
    model = for_file(file.bundle, file.fingerprint, pick_device(device))
    found = indices(model, file)
    if progress:
        progress(0.5)
    g, f = found.geometry, found
    return Image.fromarray(pixels.synthesize(model, g, f.level, f.y, f.tokens, f.mask, fidelity, progress))


def check(file: Container) -> None:
    """Refuses what this version cannot decode, before anything is allocated."""
    if file.width * file.height > MAX_PIXELS:
        raise FormatError(f"{file.width}x{file.height} is more than the limit of {MAX_PIXELS} pixels")
    if file.settings.rate > LEVELS:
        raise FormatError(f"rate {file.settings.rate} needs a newer hflow")
    if file.settings.mask == MaskSchedule.CODED or file.settings.profile == Profile.ADACODE:
        raise FormatError("coded masks and the profile adacode need a newer hflow")


def indices(model: Model, file: Container) -> Indices:
    """The integer half of decoding; the same on every machine. FormatError if the index checksum does not match."""
    geo, s = Geometry(file.width, file.height), file.settings
    if s.m > model.cfg.m_max:
        raise FormatError(f"{s.m} sub-quantizers, but bundle {model.name} has {model.cfg.m_max}")
    level = s.rate - 1 if s.rate else None
    y: Any = None
    if level is not None:
        y = latents.read(model, geo, level, file.continuous or b"")
    q: Any = None
    if s.m:
        q = tokens.read(model, geo, level, y, s.m, s.mask.label, file.index_chunks)
    if index_checksum(model.digest, y, q) != file.index_checksum:
        raise FormatError("the decoded indices do not match the file's checksum (damaged, or a broken decoder)")
    return Indices(geo, level, y, q, s.mask.label)
