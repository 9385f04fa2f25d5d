"""A folder to work in and, for tests of what happens around the codec, a stand-in for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import hflow
from hflow.container import Container, MaskSchedule, Profile, Section, Settings, serialize
from hflow.errors import TargetError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces the codec: a file says its picture's first pixel; green is beyond it. Returns what was done."""
    done: list[str] = []

    def encode(image: Image.Image, bpp: float = 0.03, **_: object) -> bytes:
        colour = image.getpixel((0, 0))
        if colour == (0, 255, 0):
            raise TargetError("cannot be reached")
        done.append("encode")
        settings = Settings(rate=3, m=0, mask=MaskSchedule.NONE, profile=Profile.HYBRID)
        sections = (Section(1, bytes(colour)),)
        return serialize(Container(*image.size, 1, 0xA3, settings, 0x1234, False, sections))

    def decode(data: bytes, **_: object) -> Image.Image:
        done.append("decode")
        file = hflow.container.parse(data)
        return Image.new("RGB", (file.width, file.height), tuple(file.continuous or b""))

    monkeypatch.setitem(vars(hflow), "encode", encode)
    monkeypatch.setitem(vars(hflow), "decode", decode)
    return done
