"""The Pillow plugin."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError
from tiny_bundle import picture

import hflow
import hflow.pillow


@pytest.fixture
def file(tiny_models: Path, tmp_path: Path) -> Path:
    path = tmp_path / "a.hfc"
    path.write_bytes(hflow.encode(picture(70, 50), 2.0))
    return path


def test_opens_as_an_image_like_any_other(file: Path) -> None:
    with Image.open(file) as image:
        assert (image.size, image.mode, image.format) == ((70, 50), "RGB", "HFLOW")
        assert image.get_format_mimetype() == "image/x-hflow"
        decoded = np.asarray(hflow.decode(file.read_bytes()))
        assert np.array_equal(np.asarray(image), decoded)
        assert image.resize((7, 5)).size == (7, 5)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(file.read_bytes()))), decoded)


def test_saves_with_the_options_of_encode(file: Path, tmp_path: Path) -> None:
    image = Image.fromarray(picture(70, 50))
    image.save(tmp_path / "b.hfc", bpp=2.0, device="cpu", subsampling=0)
    assert (tmp_path / "b.hfc").read_bytes() == file.read_bytes()
    buffer = io.BytesIO()
    image.save(buffer, "HFLOW", bpp=1.0)
    assert 8 * len(buffer.getvalue()) <= 70 * 50


def test_opening_needs_no_torch(file: Path) -> None:
    code = f"""
import sys, hflow.pillow
from PIL import Image
image = Image.open({str(file)!r})
print(image.size, image.mode, {{'torch', 'numpy'}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(70, 50) RGB set()\n"


def test_bad_files_are_pillows_errors(file: Path) -> None:
    data = file.read_bytes()
    with pytest.raises(OSError, match=r"^truncated: 3 bytes missing$"):
        Image.open(io.BytesIO(data[:-3]))
    with pytest.raises(OSError, match="newer hflow"):
        Image.open(io.BytesIO(data[:3] + b"\x02" + data[4:]))
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(b"HiFiC" + data))
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(OSError, match="checksum"), warnings.catch_warnings(action="error"):  # no file left open
        Image.open(file)


def test_what_only_decoding_finds_is_an_os_error_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Image.open(file) as image:
        monkeypatch.setenv("HFLOW_MODELS", "")
        with pytest.raises(OSError, match="bundle 250 is not installed"):
            image.load()
    with pytest.raises(OSError, match="too few"):
        Image.fromarray(picture(70, 50)).save(file, bpp=1e-6)
