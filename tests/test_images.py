"""Reading every kind of picture."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from hflow import images
from hflow.errors import InputError


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    image, _ = images.load(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def swapped_profile() -> bytes:
    """An sRGB profile whose red and blue primaries are exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for i in range(struct.unpack_from(">I", profile, 128)[0]):
        at = 132 + 12 * i
        profile[at : at + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(
            bytes(profile[at : at + 4]), profile[at : at + 4]
        )
    return bytes(profile)


def test_rgb_is_unchanged_from_path_bytes_and_file(tmp_path: Path) -> None:
    image = Image.effect_noise((20, 10), 50).convert("RGB")
    path = tmp_path / "a.png"
    path.write_bytes(encoded(image))
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        loaded, warnings = images.load(source)
        assert loaded.tobytes() == image.tobytes()
        assert warnings == []


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65_535, 256).astype(np.uint16).reshape(16, 16)
    assert np.array_equal(pixels(encoded(Image.fromarray(ramp)))[..., 0].ravel(), np.arange(256))
    assert np.array_equal(pixels(encoded(Image.fromarray(ramp), "TIFF"))[..., 1].ravel(), np.arange(256))


def test_float_samples_are_scaled_with_a_warning() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    image, warnings = images.load(encoded(Image.fromarray(ramp), "TIFF"))
    assert np.array_equal(np.asarray(image)[..., 2].ravel(), np.arange(256))
    assert len(warnings) == 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_colour_modes_become_rgb(mode: str) -> None:
    white = Image.new("RGB", (4, 4), "white").convert(mode)
    assert (pixels(encoded(white, "TIFF")) >= 254).all()


def test_lab_becomes_rgb() -> None:
    assert (pixels(encoded(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF")) >= 253).all()


def test_exif_orientation_is_baked_in() -> None:
    image = Image.new("RGB", (6, 4), "black")
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    turned, warnings = images.load(encoded(image, exif=exif))
    assert turned.size == (4, 6)
    assert turned.getpixel((3, 0)) == (255, 255, 255)
    assert warnings == []


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colour_profile_is_applied(mode: str) -> None:
    red = Image.new(mode, (4, 4), (255, 0, 0))
    r, _, b = pixels(encoded(red, icc_profile=swapped_profile()))[0, 0]
    assert b > 250
    assert r < 5


def test_srgb_profile_changes_nothing() -> None:
    image = Image.effect_noise((16, 16), 80).convert("RGB")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.abs(pixels(encoded(image, icc_profile=profile)).astype(int) - np.asarray(image)).max() <= 1


@pytest.mark.parametrize("profile", [b"not a profile", swapped_profile()[:200]])
def test_broken_profile_is_ignored_with_a_warning(profile: bytes) -> None:
    image, warnings = images.load(encoded(Image.new("RGB", (4, 4), "red"), icc_profile=profile))
    assert image.getpixel((0, 0)) == (255, 0, 0)
    assert len(warnings) == 1
    assert "profile" in warnings[0]


def transparent() -> list[Image.Image]:
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.info["transparency"] = 0
    return [Image.new("RGBA", (4, 4), (0, 0, 0, 0)), Image.new("LA", (4, 4), (0, 0)), palette]


@pytest.mark.parametrize("image", transparent(), ids=lambda image: image.mode)
def test_transparency_is_put_on_white_with_a_warning(image: Image.Image) -> None:
    rgb, warnings = images.load(encoded(image))
    assert (np.asarray(rgb) == 255).all()
    assert len(warnings) == 1
    assert "white" in warnings[0]


def test_half_transparency_mixes_and_opaque_alpha_is_no_news() -> None:
    half, _ = images.load(encoded(Image.new("RGBA", (2, 2), (0, 0, 0, 128))))
    assert half.getpixel((0, 0)) == (127, 127, 127)
    assert images.load(encoded(Image.new("RGBA", (2, 2), (9, 9, 9, 255))))[1] == []


def test_animation_gives_its_first_frame_with_a_warning() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    image, warnings = images.load(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert image.getpixel((0, 0)) == (255, 0, 0)
    assert warnings == ["only the first of 3 frames is used"]


def huge(width: int, height: int) -> bytes:
    """A PNG that claims a size it has no data for."""
    image = bytearray(encoded(Image.new("L", (1, 1))))
    image[16:24] = struct.pack(">II", width, height)
    image[29:33] = struct.pack(">I", zlib.crc32(image[12:29]))
    return bytes(image)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        encoded(Image.effect_noise((64, 64), 90))[:900],
        encoded(Image.effect_noise((64, 64), 90), "JPEG")[:900],
        huge(65_536, 1),
        huge(20_000, 20_000),
        huge(60_000, 60_000),
    ],
    ids=["empty", "text", "cut png", "cut jpeg", "wide", "large", "bomb"],
)
def test_unreadable_input_is_one_line_with_the_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        images.load(path)
    assert "bad.png" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder_are_input_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(InputError, match=path.name):
            images.load(path)
