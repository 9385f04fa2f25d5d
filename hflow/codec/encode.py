"""Image to `.hfc` bytes: analysis, choice of settings, container."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from hflow import bundles
from hflow.codec import pixels
from hflow.codec.checksum import index_checksum
from hflow.codec.geometry import Geometry
from hflow.codec.pixels import Progress
from hflow.codec.rate import Choice, Coder, choose, schedule
from hflow.container import Container, Profile, Section, Settings, serialize
from hflow.container.model import Kind
from hflow.errors import InputError, TargetError
from hflow.nets.bundle import Model, load, pick_device


def encode(
    image: Image.Image | np.ndarray,
    bpp: float = 0.03,
    *,
    device: str = "auto",
    bundle: str | None = None,
    progress: Progress = None,
) -> bytes:
    """Encodes a picture into at most `bpp` bits per pixel, everything counted.

    image: a PIL image (converted to RGB) or an array (H, W, 3) uint8. bundle: name of an installed bundle, default the
    newest. progress: called with the share done, 0 to 1. Raises InputError for a picture that cannot be coded,
    TargetError where no file is small enough, BundleError for a missing bundle.
    """
    rgb = as_rgb(image)
    if not (math.isfinite(bpp) and bpp > 0):
        raise TargetError(f"bpp must be a positive number, not {bpp}")
    model = load(bundles.find(bundle) if bundle else bundles.default(), pick_device(device))
    geo = Geometry(rgb.shape[1], rgb.shape[0])
    coder = Coder(model, geo, pixels.trunk(model, rgb))
    if progress:
        progress(0.3)
    choice = choose(coder, bpp)
    if progress:
        progress(1.0)
    return pack(model, geo, choice)


def pack(model: Model, geo: Geometry, choice: Choice) -> bytes:
    """A choice of settings, already coded, as a file."""
    sections = []
    if choice.level is not None:
        sections.append(Section(Kind.CONTINUOUS, choice.continuous))
    sections += [Section(Kind.INDEX, c) for c in choice.chunks]
    settings = Settings(
        rate=0 if choice.level is None else 1 + choice.level,
        m=choice.m,
        mask=schedule(choice.mask),
        profile=Profile.PQ if choice.level is None else Profile.HYBRID,
    )
    return serialize(
        Container(
            width=geo.width,
            height=geo.height,
            bundle=model.number,
            fingerprint=model.fingerprint,
            settings=settings,
            index_checksum=index_checksum(model.digest, choice.y, choice.tokens),
            chunked=len(choice.chunks) > 1,
            sections=tuple(sections),
        )
    )


def as_rgb(image: Image.Image | np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of a PIL image or array. InputError for other shapes, types and sizes."""
    if isinstance(image, Image.Image):
        image = np.asarray(image.convert("RGB"))
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(f"expected an array (H, W, 3) of uint8, not {image.shape} of {image.dtype}")
    if not (0 < image.shape[0] < 65536 and 0 < image.shape[1] < 65536):
        raise InputError(f"a picture is 1 to 65535 pixels on a side, not {image.shape[1]}x{image.shape[0]}")
    return image
