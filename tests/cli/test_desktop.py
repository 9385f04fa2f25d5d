"""The files in share/ that tell a desktop what .hfc files are, and how to show them."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path
from xml.etree import ElementTree

from click.testing import CliRunner
from PIL import Image

import hflow
import hflow.pillow
from hflow.cli import main
from hflow.container.model import SIGNATURE

ROOT = Path(hflow.__file__).parent.parent


def test_the_type_is_the_one_of_the_format() -> None:
    top = ElementTree.parse(ROOT / "share/mime/packages/hflow.xml").getroot()
    assert top[0].get("type") == hflow.pillow.MIME
    match = top.find(".//{*}match")
    assert match is not None
    assert match.get("value", "").encode().decode("unicode_escape").encode("latin-1") == SIGNATURE
    assert "image/x-hflow" in (ROOT / "formats/hflow.magic").read_text()


def test_the_thumbnailers_command_works(here: Path, codec: list[str]) -> None:
    Image.new("RGB", (20, 10), "red").save("a.png")
    assert CliRunner().invoke(main, ["encode", "a.png"]).exit_code == 0
    Path("thumb").touch()  # file managers make it, without a suffix
    entry = configparser.ConfigParser(interpolation=None)
    entry.read(ROOT / "share/thumbnailers/hflow.thumbnailer")
    about = entry["Thumbnailer Entry"]
    assert about["MimeType"] == f"{hflow.pillow.MIME};"
    words = [{"%i": "a.hfc", "%o": "thumb"}.get(word, word) for word in shlex.split(about["Exec"])]
    assert words[0] == about["TryExec"] == "hflow"
    assert CliRunner().invoke(main, words[1:]).exit_code == 0
    assert Image.open("thumb").getpixel((0, 0)) == (255, 0, 0)
