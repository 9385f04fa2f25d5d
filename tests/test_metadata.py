"""EXIF, XMP and colour profiles through the codec, with a tiny bundle."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import ExifTags, Image, ImageCms
from tiny_bundle import picture

import hflow
import hflow.pillow
from hflow.cli import main
from hflow.container import Kind, Section, metadata, parse, serialize
from hflow.errors import InputError, TargetError

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
    from hflow.images import load

    kept, _ = load(photo, keep=["icc"])
    plain = Image.open(photo).transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(np.asarray(kept), np.asarray(plain))
    plain.save("s.png", icc_profile=PROFILE)
    assert load("s.png", keep=["icc"])[0].info == {}  # what is meant without one


def test_damaged_exif_is_dropped() -> None:
    from hflow.images import load

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    image, _ = load(buffer.getvalue(), keep=["exif"])
    assert image.info == {}


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
    assert again.getexif()[ExifTags.Base.Orientation] == 6  # nothing was turned
    again.load()
    assert again.getexif()[MAKE] == "Maker"


def test_other_kinds_are_refused(photo: Path) -> None:
    assert run("encode", "a.jpg", "--metadata", "exif,iptc").exit_code == 2
    with pytest.raises(InputError, match="iptc"):
        hflow.encode(Image.open(photo), metadata=["iptc"])
