"""Photos from tar shards, decoded once into memory; crops are drawn on the device."""

from __future__ import annotations

import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F


def read_tar(path: Path) -> list[Tensor]:
    """Every picture of a tar file as uint8 (3, H, W), in the file's order."""
    with tarfile.open(path) as tar:
        raw = [tar.extractfile(m).read() for m in tar if m.isfile()]  # type: ignore[union-attr]

    def decode(data: bytes) -> Tensor:
        return torch.from_numpy(np.array(Image.open(io.BytesIO(data)).convert("RGB")).transpose(2, 0, 1).copy())

    with ThreadPoolExecutor() as pool:
        return list(pool.map(decode, raw))


def send(t: Tensor, device: str) -> Tensor:
    """To the device, without waiting for what it is busy with."""
    return t.pin_memory().to(device, non_blocking=True) if device.startswith("cuda") else t.to(device)


class Photos:
    """Random crops from the shards `folder/<prefix>*.tar`; `refresh` picks up shards that have arrived since.

    All pictures lie in one tensor on the device, padded to the largest, so that a batch is a few gathers.
    """

    def __init__(self, folder: str | Path, prefix: tuple[str, ...] = ("open",), device: str = "cpu", limit: int = 0):
        self.folder, self.prefix, self.device, self.limit = Path(folder), prefix, device, limit
        self.seen: set[str] = set()
        self.stack = torch.empty(0, 3, 0, 0, dtype=torch.uint8, device=device)
        self.sizes = np.empty((0, 2), np.int64)  # height, width
        self.refresh()
        if not len(self.sizes):
            raise FileNotFoundError(f"no {'/'.join(prefix)}*.tar in {folder}")

    def refresh(self) -> None:
        images: list[Tensor] = []
        for path in sorted(self.folder.glob("*.tar")):
            if path.name.startswith(self.prefix) and path.name not in self.seen:
                if self.limit and len(self.seen) >= self.limit:
                    break
                self.seen.add(path.name)
                images += read_tar(path)
        if images:
            self.add(images)

    def add(self, images: list[Tensor]) -> None:
        """Takes in uint8 pictures (3, H, W) of any sizes."""
        sizes = np.array([im.shape[1:] for im in images])
        h, w = np.maximum(self.stack.shape[2:], sizes.max(0))
        stack = torch.zeros(len(self.sizes) + len(images), 3, h, w, dtype=torch.uint8, device=self.device)
        _, _, old_h, old_w = self.stack.shape
        stack[: len(self.sizes), :, :old_h, :old_w] = self.stack
        for im, row in zip(images, stack[len(self.sizes) :], strict=True):
            row[:, : im.shape[1], : im.shape[2]] = im.to(self.device)
        self.stack, self.sizes = stack, np.concatenate([self.sizes, sizes])

    def batch(self, n: int, size: int, rng: np.random.Generator, zooms: int = 4) -> Tensor:
        """(n, 3, size, size) float in [0, 1]: random place, flip, and half the time one of a few random down-scales."""
        which = rng.integers(len(self.sizes), size=n)
        sides = self.sizes[which].min(1)
        least = np.minimum(size, sides)
        zoom = rng.random(zooms)[rng.integers(zooms, size=n)] * (rng.random(n) < 0.5)
        windows = (least + zoom * (sides + 1 - least)).astype(np.int64)
        free = self.sizes[which] - windows[:, None]
        corners = (rng.random((n, 2)) * (free + 1)).astype(np.int64)
        flips = rng.random(n) < 0.5
        drawn = np.column_stack([which, corners, flips])[np.argsort(windows)]
        sizes, counts = np.unique(windows, return_counts=True)
        groups = send(torch.from_numpy(drawn), self.device).split(counts.tolist())
        out = []
        for s, group in zip(sizes.tolist(), groups, strict=True):
            k, top, left, flip = group.T[:, :, None]
            along = torch.arange(s, device=self.device)
            rows, cols = top + along, left + torch.where(flip > 0, s - 1 - along, along)
            crop = self.stack[k[:, :, None], :, rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2).float() / 255
            if s != size:
                crop = F.interpolate(crop, (size, size), mode="bilinear", antialias=True)
            out.append(crop)
        return torch.cat(out)


def validation(path: str | Path, size: int = 256, n: int = 128, device: str = "cpu") -> Tensor:
    """The fixed validation list: the centre crop of the first `n` pictures, (n, 3, size, size) in [0, 1]."""
    out = []
    for im in read_tar(Path(path))[:n]:
        t, left = (im.shape[1] - size) // 2, (im.shape[2] - size) // 2
        out.append(im[:, t : t + size, left : left + size].float() / 255)
    return torch.stack(out).to(device)
