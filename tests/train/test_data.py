"""Photos from shards: what is read, what is cropped, what arrives later."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_bundle import picture

from hflow.train.data import Photos, read_tar, validation

Shard = Callable[..., Path]


def plain(value: int, width: int = 70, height: int = 60) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_a_shard_is_read_in_order_and_exactly(shard: Shard) -> None:
    pictures = [picture(40, 30, k) for k in range(5)]
    read = read_tar(shard("open-0.tar", pictures))
    assert all((a.numpy().transpose(1, 2, 0) == b).all() for a, b in zip(read, pictures, strict=True))


def test_other_formats_and_modes_become_rgb(tmp_path: Path) -> None:
    path = tmp_path / "open.tar"
    with tarfile.open(path, "w") as tar:
        for name, mode in (("a.webp", "RGB"), ("b.png", "L"), ("c.png", "RGBA"), ("d.jpg", "RGB")):
            buffer = io.BytesIO()
            Image.new(mode, (20, 10)).save(buffer, Image.registered_extensions()[name[1:]])
            info = tarfile.TarInfo(name)
            info.size = buffer.tell()
            tar.addfile(info, io.BytesIO(buffer.getvalue()))
    assert [tuple(im.shape) for im in read_tar(path)] == [(3, 10, 20)] * 4


def test_shards_by_prefix_and_limit(shard: Shard, tmp_path: Path) -> None:
    for name, value in (("open-1.tar", 1), ("open-0.tar", 0), ("web-0.tar", 2), ("other.tar", 3)):
        shard(name, [plain(value)] * 2)
    folder = tmp_path / "data"

    def values(photos: Photos) -> list[int]:
        return photos.stack[:, 0, 0, 0].tolist()

    assert values(Photos(folder)) == [0, 0, 1, 1]
    assert values(Photos(folder, ("open", "web"))) == [0, 0, 1, 1, 2, 2]
    assert values(Photos(folder, limit=1)) == [0, 0]
    with pytest.raises(FileNotFoundError, match=r"no closed\*\.tar"):
        Photos(folder, ("closed",))


def test_refresh_picks_up_what_has_arrived(shard: Shard, tmp_path: Path) -> None:
    shard("open-1.tar", [plain(1)])
    photos = Photos(tmp_path / "data")
    photos.refresh()
    assert len(photos.sizes) == 1
    shard("open-0.tar", [plain(0), plain(7)])
    shard("web-1.tar", [plain(9)])
    photos.refresh()
    assert sorted(photos.stack[:, 0, 0, 0].tolist()) == [0, 1, 7]


def test_a_batch(shard: Shard, tmp_path: Path) -> None:
    shard("open-0.tar", [plain(0), plain(255, 100, 64), plain(51, 64, 90)])
    photos = Photos(tmp_path / "data")
    x = photos.batch(40, 48, np.random.default_rng(0))
    assert x.shape == (40, 3, 48, 48)
    assert x.dtype == torch.float32
    flat = x.flatten(1)
    assert (flat.amax(1) - flat.amin(1)).max() < 1e-5  # a crop is of one picture, also where it was scaled down
    assert set((255 * flat[:, 0]).round().int().tolist()) == {0, 255, 51}
    again = photos.batch(40, 48, np.random.default_rng(0))
    assert (again == x).all()
    assert (photos.batch(40, 48, np.random.default_rng(1)) != x).any()


def test_crops_are_windows_flips_and_smaller_copies(shard: Shard, tmp_path: Path) -> None:
    """On a ramp from left to right a crop shows where it is from: slopes of both signs, steeper where scaled."""
    ramp = np.broadcast_to(np.arange(160, dtype=np.uint8)[None, :, None], (150, 160, 3)).copy()
    shard("open-0.tar", [ramp])
    x = 255 * Photos(tmp_path / "data").batch(60, 32, np.random.default_rng(2))
    assert 0 <= x.min() <= x.max() < 160
    slope = (x[:, :, :, 20] - x[:, :, :, 10]).mean((1, 2)) / 10
    assert (slope.abs() > 0.99).all()
    assert (slope > 0).any()
    assert (slope < 0).any()
    exact = (slope.abs() - 1).abs() < 1e-4
    assert 0.2 < exact.float().mean() < 0.8
    assert slope.abs().max() > 2
    starts = x[exact].amin((1, 2, 3))
    assert len(starts.unique()) > 5


def test_all_of_a_picture_that_is_just_as_large(shard: Shard, tmp_path: Path) -> None:
    image = picture(48, 48)
    shard("open-0.tar", [image])
    want = torch.from_numpy(image.transpose(2, 0, 1).copy()).float() / 255
    for x in Photos(tmp_path / "data").batch(6, 48, np.random.default_rng(0)):
        assert (x == want).all() or (x == want.flip(-1)).all()


def test_a_picture_smaller_than_the_crop_is_scaled_up(shard: Shard, tmp_path: Path) -> None:
    shard("open-0.tar", [plain(51, 40, 90)])
    x = Photos(tmp_path / "data").batch(20, 48, np.random.default_rng(0))
    assert x.shape == (20, 3, 48, 48)
    assert (x - 0.2).abs().max() < 1e-5


def test_the_validation_list_is_fixed(shard: Shard) -> None:
    pictures = [picture(50 + k, 41, k) for k in range(4)]
    path = shard("val.tar", pictures)
    x = validation(path, 32, 3)
    assert x.shape == (3, 3, 32, 32)
    for k in range(3):
        left = (50 + k - 32) // 2
        want = pictures[k][4:36, left : left + 32].transpose(2, 0, 1).astype(np.float32) / 255
        assert np.array_equal(x[k].numpy(), want)
