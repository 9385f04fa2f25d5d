"""The imageio plugin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import picture

import hflow

iio = pytest.importorskip("imageio.v3")
pytest.importorskip("hflow.imageio")


def test_reads_and_writes_as_the_codec_does(tiny_models: Path, tmp_path: Path) -> None:
    pixels, file = picture(70, 50), tmp_path / "a.hfc"
    iio.imwrite(file, pixels, bpp=2.0)
    assert file.read_bytes() == hflow.encode(pixels, 2.0)
    back = iio.imread(file)
    assert (back.shape, back.dtype) == ((50, 70, 3), np.uint8)
    assert np.array_equal(back, np.asarray(hflow.decode(file.read_bytes())))
    assert iio.improps(file).shape == (50, 70, 3)


def test_a_damaged_file_is_an_error(tiny_models: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.hfc"
    file.write_bytes(hflow.encode(picture(70, 50), 2.0)[:-3])
    with pytest.raises(OSError, match="truncated: 3 bytes missing"):
        iio.imread(file)
