"""Reads pictures: any that Pillow reads becomes 8-bit sRGB, upright."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Collection
from typing import IO, Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from hflow import metadata
from hflow.errors import InputError

MAX_SIDE = 65_535
MAX_PIXELS = 1 << 28

# Pillow's own limit is lower than ours: raised, never removed, and left alone where the host program removed it.
if Image.MAX_IMAGE_PIXELS is not None:
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, MAX_PIXELS)

Source = str | os.PathLike[str] | bytes | IO[bytes]


def load(source: Source, name: str | None = None, keep: Collection[str] = ()) -> tuple[Image.Image, list[str]]:
    """Read a picture as an upright sRGB image, with a warning for everything that was dropped on the way.

    name: what errors call it, default the file's. keep: what of exif, xmp and icc stays in the image's `info`, where
    there is any; with icc, the colours stay those of an RGB profile. InputError for what is no picture, damaged or too
    large.
    """
    name = name or _name(source)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
                _check_size(file, name)
                notes = _animation(file)
                file.load()
                rgb, dropped = as_srgb(_upright(file, notes), keep)
        except InputError:
            raise
        except Exception as error:  # damaged files make Pillow's readers fail in every way there is
            raise InputError(f"{name}: {_reason(error)}") from error
    return rgb, notes + dropped + [_line(w.message) for w in seen if not issubclass(w.category, DeprecationWarning)]


def as_srgb(image: Image.Image, keep: Collection[str] = ()) -> tuple[Image.Image, list[str]]:
    """An image of any mode as 8-bit sRGB, as `load` gives it, with a warning for everything that was dropped."""
    notes: list[str] = []
    info = metadata.of(image, keep, notes)
    rgb = _rgb(image, None if "icc_profile" in info else image.info.get("icc_profile"), notes)
    rgb.info = {}
    rgb.info.update(info)
    return rgb, notes


def _name(source: Source) -> str:
    if isinstance(source, bytes):
        return "image data"
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return str(getattr(source, "name", "image data"))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image in a known format"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS:,} pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"damaged image ({_line(error)})"


def _line(message: object) -> str:
    return " ".join(str(message).split()) or type(message).__name__


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise InputError(f"{name}: {width} x {height} pixels, sides must be 1 to {MAX_SIDE:,}")
    if width * height > MAX_PIXELS:
        raise InputError(f"{name}: {width} x {height} pixels, more than {MAX_PIXELS:,}")


def _animation(image: Image.Image) -> list[str]:
    frames = getattr(image, "n_frames", 1)
    # The further frames of MPO, a camera's JPEG, are previews and gain maps.
    return [f"only the first of {frames} frames is used"] if frames > 1 and image.format != "MPO" else []


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:
        notes.append(f"the EXIF data are damaged and were ignored ({_line(error)})")
        return image


def _rgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    image = _eight_bits(image, notes)
    alpha = None
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA")
        alpha = image.getchannel("A")
        image = image.convert(image.mode[:-1])
    image = _srgb(image, profile, notes)
    if alpha is None or alpha.getextrema() == (255, 255):
        return image
    notes.append("transparent pixels were put on white")
    return Image.composite(image, Image.new("RGB", image.size, "white"), alpha)


def _eight_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """Scale deep grey samples to 8 bits, where Pillow's convert() would clip them."""
    if image.mode == "F":
        notes.append("floating-point samples were scaled to 8 bits")
        grey = np.nan_to_num(np.asarray(image, np.float32), posinf=0, neginf=0)
        return Image.fromarray(_to_bytes(grey, 1.0))
    if image.mode == "I" or image.mode.startswith("I;"):
        return Image.fromarray(_to_bytes(np.asarray(image).astype(np.float32), 65_535.0))
    return image


def _to_bytes(grey: np.ndarray, white: float) -> np.ndarray:
    # Samples above the nominal white set the scale themselves: a dark picture rather than a clipped one.
    white = max(white, float(grey.max()))
    return np.clip(grey * (255 / white) + 0.5, 0, 255).astype(np.uint8)


def _srgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    if image.mode == "LAB":  # Pillow converts from Lab by profile only
        return _convert(image, ImageCms.createProfile("LAB"))
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if profile:
        try:
            return _convert(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
        except Exception:
            notes.append("the colour profile is unusable and was ignored")
    return image.convert("RGB")


def _convert(image: Image.Image, profile: Any) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    done = ImageCms.profileToProfile(image, profile, srgb, ImageCms.Intent.PERCEPTUAL, outputMode="RGB")
    assert done is not None
    return done
