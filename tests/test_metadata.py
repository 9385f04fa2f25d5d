"""EXIF, XMP and colour profiles through the codec, with a tiny bundle."""

from __future__ import annotations

import io
import json
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin
from tiny_bundle import picture

import hflow
import hflow.pillow
from hflow.cli import main
from hflow.container import Kind, Section, metadata, parse, serialize
from hflow.errors import InputError, TargetError
from hflow.images import load
from hflow.metadata import to_save

pytestmark = pytest.mark.usefixtures("tiny_models")
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF tiff:Orientation="6" dc:title="'
    + b"a title " * 20
    + b'"/></x:xmpmeta>'
)
MAKE, TAKEN = ExifTags.Base.Make, ExifTags.Base.DateTimeOriginal


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WIDE = PROFILE.replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be"))  # it goes by its name


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture on its side with everything in it."""
    monkeypatch.chdir(tmp_path)
    exif = Image.Exif()
    exif[MAKE], exif[ExifTags.Base.Orientation] = "Maker", 6
    exif.get_ifd(ExifTags.IFD.Exif)[TAKEN] = "2025:01:02 03:04:05"
    Image.fromarray(picture(120, 80)).save("a.jpg", exif=exif, xmp=XMP, icc_profile=WIDE)
    return tmp_path / "a.jpg"


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def test_none_is_kept_unless_asked_for(photo: Path) -> None:
    assert run("encode", "a.jpg", "--bpp", "4").exit_code == 0
    assert not parse(Path("a.hfc").read_bytes()).extra
    assert run("decode", "a.hfc").exit_code == 0
    assert not Image.open("a.png").info.keys() & {"exif", "xmp", "icc_profile"}


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif"])
def test_what_is_kept_comes_back_upright(photo: Path, suffix: str) -> None:
    assert run("encode", "a.jpg", "--bpp", "8", "--metadata", "exif,xmp,icc").exit_code == 0
    result = run("decode", "a.hfc", "-o", f"b.{suffix}")
    assert (result.exit_code, result.stderr) == (0, "")
    image = Image.open(f"b.{suffix}")
    exif = image.getexif()
    assert image.size == (80, 120)
    assert exif[MAKE] == "Maker"
    assert exif.get_ifd(ExifTags.IFD.Exif)[TAKEN] == "2025:01:02 03:04:05"
    assert ExifTags.Base.Orientation not in exif
    assert b"a title" in image.info["xmp"] and b"Orientation" not in image.info["xmp"]
    assert image.info["icc_profile"] == WIDE


def test_only_what_was_asked_for_and_what_the_format_can_carry(photo: Path) -> None:
    assert run("encode", "a.jpg", "--bpp", "8", "--metadata", "xmp").exit_code == 0
    image = hflow.decode(Path("a.hfc").read_bytes())
    assert image.info.keys() == {"xmp"}
    result = run("decode", "a.hfc", "-o", "a.bmp")
    assert (result.exit_code, result.stderr) == (0, "hflow: a.hfc: BMP files cannot carry the xmp data\n")


def test_it_counts(photo: Path) -> None:
    for most in (350, 400):
        assert run("encode", "a.jpg", "--size", str(most), "--metadata", "exif,xmp", "--force").exit_code == 0
        assert 0.85 * most < Path("a.hfc").stat().st_size <= most
        assert hflow.decode(Path("a.hfc").read_bytes()).info.keys() == {"exif", "xmp"}
    result = run("encode", "a.jpg", "--size", "60", "--metadata", "exif,xmp", "--force")
    assert result.exit_code == TargetError.exit_code
    assert re.search(r"beside metadata of \d+ bytes, 0 bytes are too few", result.stderr)
    assert result.stderr.count("\n") == 1


def test_inspect_shows_it(photo: Path) -> None:
    assert run("encode", "a.jpg", "--bpp", "8", "--metadata", "exif,xmp").exit_code == 0
    names = [s["name"] for s in json.loads(run("inspect", "a.hfc", "--json").stdout)["sections"]]
    assert names[-2:] == ["metadata (exif)", "metadata (xmp)"]
    assert "metadata (xmp)" in run("inspect", "a.hfc").stdout


def test_a_kept_profile_keeps_the_colours_it_is_for(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, _ = load(photo, keep=["icc"])
    plain = Image.open(photo).transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(np.asarray(kept), np.asarray(plain))
    plain.save("s.png", icc_profile=PROFILE)
    assert load("s.png", keep=["icc"])[0].info == {}  # what is meant without one


EVERYTHING = ("exif", "xmp", "icc")


def described(orientation: int | None = None) -> Image.Exif:
    exif = Image.Exif()
    exif[MAKE] = "Maker"
    if orientation:
        exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.IFD.Exif] = {TAKEN: "2025:01:02 03:04:05", ExifTags.Base.MakerNote: b"\x00\x01\xff" * 9}
    exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (1.0, 2.0, 3.5)}
    return exif


def said_of(orientation: int | str, style: str = 'tiff:Orientation="{}"') -> bytes:
    about = style.format(orientation)
    inside = f">{about}<dc:title>a title</dc:title>" if about.startswith("<") else f" {about} dc:title='a title'>"
    return f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:Description{inside}</rdf:Description></x:xmpmeta>".encode()


def texts(**profiles: bytes) -> PngImagePlugin.PngInfo:
    """As ImageMagick and ExifTool write them."""
    found = PngImagePlugin.PngInfo()
    for name, data in profiles.items():
        found.add_text(f"Raw profile type {name}", f"\n{name}\n{len(data):8}\n{data.hex()}\n", zip=name != "exif")
    return found


def file_of(kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(32, 24)).save(buffer, kind, **options)
    return buffer.getvalue()


RAW = described(6).tobytes()
FROM = {
    "JPEG": lambda: file_of("JPEG", exif=RAW, xmp=said_of(8)),
    "MPO": lambda: file_of("MPO", exif=RAW, xmp=said_of(8)),
    "WebP": lambda: file_of("WEBP", exif=RAW, xmp=said_of(8)),
    "AVIF": lambda: file_of("AVIF", exif=RAW, xmp=said_of(8)),
    "PNG": lambda: file_of("PNG", exif=RAW, pnginfo=texts(xmp=said_of(8))),
    "PNG with profiles": lambda: file_of("PNG", pnginfo=texts(exif=RAW, xmp=said_of(8))),
    "PNG with APP1": lambda: file_of("PNG", pnginfo=texts(APP1=RAW, xmp=said_of(8))),
    "TIFF": lambda: file_of("TIFF", exif=RAW),
    "BigTIFF": lambda: file_of("TIFF", exif=RAW, big_tiff=True),
}


@pytest.mark.parametrize("source", FROM)
def test_exif_and_xmp_are_found_in_every_format(source: str) -> None:
    image, notes = load(FROM[source](), keep=EVERYTHING)
    assert (image.size, notes) == ((24, 32), [])
    exif = Image.Exif()
    exif.load(image.info["exif"])
    assert set(exif) == {MAKE, ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}  # nothing of orientation, layout, thumbnail
    assert exif.get_ifd(ExifTags.IFD.Exif)[TAKEN] == "2025:01:02 03:04:05"
    assert exif.get_ifd(ExifTags.IFD.GPSInfo) == {1: "N", 2: (1.0, 2.0, 3.5)}
    if "TIFF" not in source:
        assert b"a title" in image.info["xmp"] and b"Orientation" not in image.info["xmp"]


def test_xmp_of_tiff_and_of_app1_is_found() -> None:
    tiff = file_of("TIFF", tiffinfo={700: said_of(8)})
    png = file_of("PNG", pnginfo=texts(APP1=b"http://ns.adobe.com/xap/1.0/\0" + said_of(8)))
    for data in (tiff, png):
        image, notes = load(data, keep=EVERYTHING)
        assert (image.size, notes, image.info.keys()) == ((32, 24), [], {"xmp"})  # XMP turns nothing
        assert b"a title" in image.info["xmp"]


@pytest.mark.parametrize(
    "style", ['tiff:Orientation="{}"', "tiff:Orientation = '{}'", "<tiff:Orientation>{}</tiff:Orientation>"]
)
@pytest.mark.parametrize(
    ("exif", "size"), [(None, (32, 24)), (1, (32, 24)), (8, (24, 32)), (0, (32, 24)), (9, (32, 24))]
)  # fmt: skip
def test_exif_alone_says_the_way_up_and_none_is_left(exif: int | None, size: tuple[int, int], style: str) -> None:
    options = {} if exif is None else {"exif": described(exif)}
    image, _ = load(file_of("PNG", **options, pnginfo=texts(xmp=said_of(6, style))), keep=EVERYTHING)
    assert image.size == size
    for kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        buffer = io.BytesIO()
        image.save(buffer, kind, **to_save(image, kind)[0])
        again = ImageOps.exif_transpose(Image.open(buffer))
        assert again.size == size
        assert load(buffer.getvalue())[0].size == size


LOOP = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack(
    "<H HHL4s HHLL HHLL L", 3, MAKE, 2, 4, b"Abc\0", 0x8769, 4, 1, 8, 0x8825, 4, 1, 8, 0
)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"exif": b"Exif\0\0garbage"}, "EXIF"),
        ({"exif": b"Exif\0\0II*\0\xff\xff\xff\x7f"}, "EXIF"),
        ({"exif": RAW[:60]}, "EXIF"),
        ({"exif": RAW[:-10]}, "EXIF data are damaged and were in part dropped"),
        ({"exif": LOOP}, None),
        ({"xmp": b"<x>\xe4</x>"}, "XMP"),
        ({"icc_profile": b"garbage"}, "profile"),
        ({"icc_profile": WIDE[:200]}, "profile"),
    ],
)
def test_what_cannot_be_read_is_dropped_with_a_note(options: dict[str, bytes], note: str | None) -> None:
    image, notes = load(file_of("JPEG", **options), keep=EVERYTHING)
    assert len(notes) == (note is not None) and all(note in n for n in notes)
    for kind in ("PNG", "JPEG", "WEBP", "AVIF", "TIFF"):
        buffer = io.BytesIO()
        image.save(buffer, kind, **to_save(image, kind)[0])
        Image.open(buffer).getexif()
    image = Image.open(io.BytesIO(file_of("JPEG", **options)))
    if note:
        with pytest.warns(UserWarning, match=note):
            data = hflow.encode(image, 8.0, metadata=EVERYTHING)
        assert not hflow.decode(data).info.keys() - {"exif"}


def test_text_that_is_not_ascii_stays() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Jörg".encode()
    image, _ = load(file_of("JPEG", exif=exif), keep=["exif"])
    assert "Jörg".encode() in image.info["exif"]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    "found", [{"exif": b"garbage"}, {"exif": b""}, {"exif": RAW[6:50]}, {"icc": b"x"}, {"xmp": b""}]
)
def test_what_a_file_holds_and_pillow_cannot_use_stays_away(found: dict[str, bytes], tmp_path: Path) -> None:
    file = parse(hflow.encode(picture(70, 50), 2.0))
    data = serialize(replace(file, sections=file.sections + metadata.sections(found)))
    assert hflow.decode(data).info == {}
    (tmp_path / "a.hfc").write_bytes(data)
    with Image.open(tmp_path / "a.hfc") as image:
        image.load()
        assert not image.getexif()


def test_what_is_too_long_for_a_format_is_said() -> None:
    image, _ = load(file_of("WEBP", xmp=b"<x>" + b"long " * 15_000 + b"</x>"), keep=["xmp"])
    assert to_save(image, "JPEG") == ({}, ["xmp"])
    assert to_save(image, "WEBP")[1] == []


def test_sections_that_cannot_be_used_are_passed_over() -> None:
    data = hflow.encode(picture(70, 50), 2.0)
    odd = [b"", b"\x09new", b"\x81not deflated", b"\x02one", b"\x02two"]
    extra = tuple(Section(Kind.METADATA, d, critical=False) for d in odd)
    file = parse(data)
    assert hflow.decode(serialize(replace(file, sections=file.sections + extra))).info == {"xmp": b"one"}


def test_a_bomb_is_passed_over() -> None:
    bomb = metadata.sections({"xmp": bytes(metadata.LIMIT + 1)})
    file = parse(hflow.encode(picture(70, 50), 2.0))
    assert metadata.read(replace(file, sections=file.sections + bomb)) == {}


def test_the_plugin_reads_and_writes_it(photo: Path) -> None:
    image = Image.open(photo)
    image.save("b.hfc", bpp=8, metadata=("exif",))
    again = Image.open("b.hfc")
    assert again.info.keys() == {"exif"}
    assert again.size == (80, 120)
    assert ExifTags.Base.Orientation not in again.getexif()
    again.load()
    assert again.getexif()[MAKE] == "Maker"


def test_other_kinds_are_refused(photo: Path) -> None:
    assert run("encode", "a.jpg", "--metadata", "exif,iptc").exit_code == 2
    with pytest.raises(InputError, match="iptc"):
        hflow.encode(Image.open(photo), metadata=["iptc"])
