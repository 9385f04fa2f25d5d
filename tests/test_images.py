"""Reading every kind of picture."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageCms, PngImagePlugin

from hflow import images
from hflow.cli import main
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
        loaded, notes = images.load(source)
        assert loaded.tobytes() == image.tobytes()
        assert notes == []


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65_535, 256).astype(np.uint16).reshape(16, 16)
    assert np.array_equal(pixels(encoded(Image.fromarray(ramp)))[..., 0].ravel(), np.arange(256))
    assert np.array_equal(pixels(encoded(Image.fromarray(ramp), "TIFF"))[..., 1].ravel(), np.arange(256))


def test_float_samples_are_scaled_with_a_warning() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    image, notes = images.load(encoded(Image.fromarray(ramp), "TIFF"))
    assert np.array_equal(np.asarray(image)[..., 2].ravel(), np.arange(256))
    assert len(notes) == 1


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
    turned, notes = images.load(encoded(image, exif=exif))
    assert turned.size == (4, 6)
    assert turned.getpixel((3, 0)) == (255, 255, 255)
    assert notes == []


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
    image, notes = images.load(encoded(Image.new("RGB", (4, 4), "red"), icc_profile=profile))
    assert image.getpixel((0, 0)) == (255, 0, 0)
    assert len(notes) == 1
    assert "profile" in notes[0]


def transparent() -> list[Image.Image]:
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.info["transparency"] = 0
    return [Image.new("RGBA", (4, 4), (0, 0, 0, 0)), Image.new("LA", (4, 4), (0, 0)), palette]


@pytest.mark.parametrize("image", transparent(), ids=lambda image: image.mode)
def test_transparency_is_put_on_white_with_a_warning(image: Image.Image) -> None:
    rgb, notes = images.load(encoded(image))
    assert (np.asarray(rgb) == 255).all()
    assert len(notes) == 1
    assert "white" in notes[0]


def test_half_transparency_mixes_and_opaque_alpha_is_no_news() -> None:
    half, _ = images.load(encoded(Image.new("RGBA", (2, 2), (0, 0, 0, 128))))
    assert half.getpixel((0, 0)) == (127, 127, 127)
    assert images.load(encoded(Image.new("RGBA", (2, 2), (9, 9, 9, 255))))[1] == []


def test_animation_gives_its_first_frame_with_a_warning() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    image, notes = images.load(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert image.getpixel((0, 0)) == (255, 0, 0)
    assert notes == ["only the first of 3 frames is used"]


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


def test_16_bit_grey_with_a_transparent_colour_is_put_on_white() -> None:
    image = Image.fromarray(np.full((4, 4), 21_845, np.uint16))
    rgb, notes = images.load(encoded(image, transparency=21_845))
    assert (rgb.getpixel((1, 1)), notes) == ((255, 255, 255), ["transparent pixels were put on white"])
    rgb, notes = images.load(encoded(image, transparency=21_846))
    assert (rgb.getpixel((1, 1)), notes) == ((85, 85, 85), [])


def png(depth: int, colour: int, samples: bytes, key: bytes) -> bytes:
    """A PNG of one pixel with a transparent colour, of a depth that Pillow does not write."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 1, 1, depth, colour, 0, 0, 0)), (b"tRNS", key)]
    parts += [(b"IDAT", zlib.compress(b"\0" + samples)), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("depth", "colour", "samples", "key"),
    [
        (1, 0, b"\x80", b"\0\1"),
        (2, 0, b"\x80", b"\0\2"),
        (4, 0, b"\x70", b"\0\7"),
        (8, 0, b"\x07", b"\0\7"),
        (16, 0, b"\1\7", b"\1\7"),
        (8, 2, b"\1\2\3", b"\0\1\0\2\0\3"),
        (16, 2, b"\0\1\0\2\0\3", b"\0\1\0\2\0\3"),
        (16, 2, b"\4\1\5\2\6\3", b"\4\1\5\2\6\3"),
    ],
)
def test_a_transparent_colour_is_one_of_the_files_own_depth(
    depth: int, colour: int, samples: bytes, key: bytes
) -> None:
    rgb, notes = images.load(png(depth, colour, samples, key))
    assert (rgb.getpixel((0, 0)), notes) == ((255, 255, 255), ["transparent pixels were put on white"])
    other = b"\0\0" if colour == 0 else b"\xff" * 6
    assert images.load(png(depth, colour, samples, other))[1] == []


def late(data: bytes) -> bytes:
    """With more text than Pillow reads, behind the picture."""
    text = b"comment\0\0" + zlib.compress(bytes(2_000_000))
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    return data[:-12] + chunk + data[-12:]


@pytest.mark.parametrize("where", ["zTXt", "iTXt", "tEXt", "many", "late"])
def test_a_png_with_much_text_is_read(where: str) -> None:
    image, texts = Image.effect_noise((16, 16), 50).convert("RGB"), PngImagePlugin.PngInfo()
    if where in ("zTXt", "iTXt"):
        add = texts.add_text if where == "zTXt" else texts.add_itxt
        add("XML:com.adobe.xmp" if where == "iTXt" else "workflow", "x" * 1_200_000, zip=True)
    elif where != "late":
        size, times = (70_000_000, 1) if where == "tEXt" else (1_000_000, 70)
        for n in range(times):
            texts.add_text(f"text {n}", "x" * size, zip=where == "many")
    data = encoded(image, pnginfo=texts)
    before = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    loaded, notes = images.load(late(data) if where == "late" else data, keep=["xmp"])
    assert (loaded.tobytes(), notes) == (image.tobytes(), [])
    assert len(loaded.info.get("xmp", b"")) == 1_200_000 * (where == "iTXt")
    assert before == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


def test_a_large_profile_of_a_png_is_applied() -> None:
    profile = swapped_profile() + bytes(1_500_000)
    data = encoded(Image.new("RGB", (4, 4), (255, 0, 0)), icc_profile=struct.pack(">I", len(profile)) + profile[4:])
    assert pixels(data)[0, 0, 2] > 250


def test_text_that_was_asked_for_and_is_too_large_is_said() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", "x" * 17_000_000, zip=True)
    image, notes = images.load(encoded(Image.new("RGB", (4, 4)), pnginfo=texts), keep=["xmp"])
    assert not image.info and "larger than 16,777,216 bytes" in notes[0]


def test_the_programs_own_limit_stays_and_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("RGB", (64, 64)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match=r"more than Pillow's limit of 1,000 pixels \(PIL.Image.MAX_IMAGE_PIXELS\)"):
        images.load(data)
    assert Image.MAX_IMAGE_PIXELS == 1000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert images.load(data)[0].size == (64, 64)


def test_the_command_line_reads_more_than_pillow_would(
    tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (64, 64), "white").save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for command in (["encode", "--bpp", "2"], ["encode", "--bpp", "2", "--force", "--roi", str(tmp_path / "a.png")]):
        done = CliRunner().invoke(main, [*command, str(tmp_path / "a.png")])
        assert (done.exit_code, done.stderr) == (0, "")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert CliRunner().invoke(main, ["compare", str(tmp_path / "a.png"), str(tmp_path / "a.png")]).exit_code == 0


def test_warning_filters_stay_from_several_threads() -> None:
    data = encoded(Image.new("F", (8, 8), 0.5), "TIFF")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        for image, notes in pool.map(lambda _: images.load(data), range(100)):
            assert (image.size, len(notes)) == ((8, 8), 1)
    assert warnings.filters == before
