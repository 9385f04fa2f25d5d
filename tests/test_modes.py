"""Every mode of picture, alike through `hflow.encode`, the plugin and the command line."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_bundle import picture

import hflow
import hflow.pillow
from hflow import images
from hflow.cli import main
from hflow.errors import InputError

pytestmark = pytest.mark.usefixtures("tiny_models")
SIZE = (40, 33)
COLOURS = Image.fromarray(picture(*SIZE))
DEEP = np.asarray(COLOURS.convert("L")).astype(np.int32) * 257  # white is 65,535
CLEAR = Image.new("RGBA", SIZE, (0, 0, 0, 0))


def with_info(image: Image.Image, **info: Any) -> Image.Image:
    image = image.copy()
    image.info.update(info)
    return image


def deep(mode: str) -> Image.Image:
    return Image.frombytes(mode, SIZE, DEEP.astype(">u2" if mode == "I;16B" else "<u2").tobytes())


def palette(kind: str) -> Image.Image:
    image = Image.new("P", SIZE, 0)
    image.putpalette([0, 0, 0, 0] * 2, kind)
    return image


GREY = COLOURS.convert("L").convert("RGB")
WHITE = Image.new("RGB", SIZE, "white")
# What should come of each; None where only the members have to agree.
MODES: dict[str, tuple[Image.Image, Image.Image | None]] = {
    **{m: (COLOURS.convert(m), None) for m in ("1", "L", "P", "CMYK", "YCbCr", "HSV", "LAB", "PA")},
    **{m: (COLOURS.convert(m), COLOURS) for m in ("RGB", "RGBA", "RGBX")},
    **{m: (deep(m), GREY) for m in ("I;16", "I;16B", "I;16L")},
    "I": (Image.fromarray(DEEP), GREY),
    "I, deeper": (Image.fromarray(DEEP * 32_767), None),
    "F": (Image.fromarray((DEEP / 65_535).astype(np.float32)), GREY),
    "F beyond 1": (Image.fromarray(DEEP.astype(np.float32)), None),
    "LA": (COLOURS.convert("LA"), GREY),
    "La": (COLOURS.convert("LA").convert("La"), GREY),
    "clear RGBA": (CLEAR, WHITE),
    "clear RGBa": (CLEAR.convert("RGBa"), WHITE),
    "clear LA": (CLEAR.convert("LA"), WHITE),
    "clear La": (CLEAR.convert("LA").convert("La"), WHITE),
    "clear PA": (Image.new("PA", SIZE), WHITE),
    "clear palette": (palette("RGBA"), WHITE),
    "P with an entry": (with_info(palette("RGBX"), transparency=0), WHITE),
    "P with bytes": (with_info(palette("RGBX"), transparency=b"\0"), WHITE),
    "1 with a colour": (with_info(Image.new("1", SIZE), transparency=0), WHITE),
    "L with a colour": (with_info(Image.new("L", SIZE, 7), transparency=7), WHITE),
    "RGB with a colour": (with_info(Image.new("RGB", SIZE, (1, 2, 3)), transparency=(1, 2, 3)), WHITE),
    "I;16 with a colour": (with_info(Image.new("I;16", SIZE, 777), transparency=777), WHITE),
    "I with a colour": (with_info(Image.new("I", SIZE, 777), transparency=777), WHITE),
}
# Files that give such a picture back; of the other modes there are none.
FILES = {
    **dict.fromkeys(("1", "L", "P", "RGB", "RGBA", "I;16", "LA", "clear RGBA", "clear LA", "P with an entry"), "PNG"),
    **dict.fromkeys(("P with bytes", "1 with a colour", "L with a colour", "I;16 with a colour"), "PNG"),
    **dict.fromkeys(("RGB with a colour", "clear palette"), "PNG"),
    **dict.fromkeys(("CMYK", "I;16B", "F", "F beyond 1", "I", "LAB", "I, deeper"), "TIFF"),
}


@pytest.mark.parametrize("name", MODES)
def test_api_plugin_and_command_line_see_the_same(name: str, tmp_path: Path) -> None:
    image, expected = MODES[name]
    before = image.mode, image.tobytes(), dict(image.info)
    rgb = images.as_srgb(image)[0]
    wanted = hflow.encode(np.asarray(rgb), 2.0)
    assert hflow.encode(image, 2.0) == wanted
    buffer = io.BytesIO()
    image.save(buffer, "HFLOW", bpp=2.0)
    assert buffer.getvalue() == wanted
    assert (image.mode, image.tobytes(), dict(image.info)) == before
    if expected:
        assert np.abs(np.asarray(rgb).astype(int) - np.asarray(expected)).max() <= 1
    if name in FILES:
        path = tmp_path / f"a.{FILES[name].lower()}"
        image.save(path)
        done = CliRunner().invoke(main, ["encode", str(path), "--bpp", "2", "-o", str(tmp_path / "a.hfc")])
        assert done.exit_code == 0, done.stderr
        assert (tmp_path / "a.hfc").read_bytes() == wanted


@pytest.mark.parametrize("samples", [[-5, -1], [0, 0], [0, 2**31 - 1], [-(2**31), 65_535]])
def test_whole_numbers_of_every_range(samples: list[int]) -> None:
    rgb = images.as_srgb(Image.fromarray(np.array([samples], np.int32)))[0]
    assert [rgb.getpixel((x, 0))[0] for x in (0, 1)] == [0, 255 if max(samples) > 0 else 0]


@pytest.mark.parametrize("high", [1.0, 0.5, 255.0, 3e38])
def test_floats_that_are_no_numbers_are_black_or_white(high: float) -> None:
    samples = np.array([[0, high, np.nan, np.inf, -np.inf, -1]], np.float32)
    rgb, notes = images.as_srgb(Image.fromarray(samples))
    assert [rgb.getpixel((x, 0))[0] for x in range(6)] == [0, min(255, round(255 * high)), 0, 255, 0, 0]
    assert notes == ["floating-point samples were scaled to 8 bits"]
    for all_the_same, grey in ((np.nan, 0), (np.inf, 255), (-np.inf, 0)):
        rgb = images.as_srgb(Image.fromarray(np.full((2, 2), all_the_same, np.float32)))[0]
        assert rgb.getpixel((0, 0)) == (grey, grey, grey)


@pytest.mark.parametrize(
    ("mode", "key"),
    [("L", b"x"), ("L", (1, 2, 3)), ("RGB", 5), ("RGB", "x"), ("P", "x"), ("P", 300), ("CMYK", 0), ("HSV", 0)],
)
def test_a_transparent_colour_of_another_mode_is_nothing(mode: str, key: object) -> None:
    image = COLOURS.convert(mode)
    plain = images.as_srgb(image)[0]
    assert images.as_srgb(with_info(image, transparency=key))[0].tobytes() == plain.tobytes()


def test_a_picture_on_its_side_is_turned_once(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    COLOURS.save(tmp_path / "a.png", exif=exif)
    turned = hflow.encode(np.asarray(COLOURS.transpose(Image.Transpose.ROTATE_270)), 2.0)
    assert hflow.encode(Image.open(tmp_path / "a.png"), 2.0) == turned
    assert hflow.encode(images.load(tmp_path / "a.png", keep=["exif"])[0], 2.0) == turned
    Image.open(tmp_path / "a.png").save(tmp_path / "a.hfc", bpp=2.0)
    assert (tmp_path / "a.hfc").read_bytes() == turned
    COLOURS.save(tmp_path / "a.tif", exif=exif)
    assert hflow.encode(Image.open(tmp_path / "a.tif"), 2.0) == turned


@pytest.mark.parametrize(
    "what",
    [
        np.zeros((4, 4)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8), [[1, 2], [3]], "a.png", b"a", None, 7, Image.new("RGB", (0, 4)),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_an_input_error(what: Any) -> None:
    with pytest.raises(InputError):
        hflow.encode(what)


def test_a_damaged_file_is_an_input_error(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    COLOURS.save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue()[:-300])
    with pytest.raises(InputError, match="damaged"):
        hflow.encode(Image.open(tmp_path / "a.png"))
