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


class Photos:
    """Random crops from the shards `folder/<prefix>*.tar`; `refresh` picks up shards that have arrived since."""

    def __init__(self, folder: str | Path, prefix: tuple[str, ...] = ("open",), device: str = "cpu", limit: int = 0):
        self.folder, self.prefix, self.device, self.limit = Path(folder), prefix, device, limit
        self.seen: set[str] = set()
        self.images: list[Tensor] = []
        self.refresh()
        if not self.images:
            raise FileNotFoundError(f"no {'/'.join(prefix)}*.tar in {folder}")

    def refresh(self) -> None:
        for path in sorted(self.folder.glob("*.tar")):
            if path.name.startswith(self.prefix) and path.name not in self.seen:
                if self.limit and len(self.seen) >= self.limit:
                    return
                self.seen.add(path.name)
                self.images += [im.to(self.device) for im in read_tar(path)]

    def batch(self, n: int, size: int, rng: np.random.Generator) -> Tensor:
        """(n, 3, size, size) float in [0, 1]: random place, flip, and half the time a random down-scale."""
        out = []
        for k in rng.integers(len(self.images), size=n):
            im = self.images[k]
            h, w = im.shape[1:]
            side = min(h, w)
            s = min(size, side)
            if rng.random() < 0.5:
                s = int(rng.integers(s, side + 1))
            t, left = rng.integers(h - s + 1), rng.integers(w - s + 1)
            crop = im[:, t : t + s, left : left + s].float() / 255
            if s != size:
                crop = F.interpolate(crop[None], (size, size), mode="bilinear", antialias=True)[0]
            out.append(crop.flip(-1) if rng.random() < 0.5 else crop)
        return torch.stack(out)


def validation(path: str | Path, size: int = 256, n: int = 128, device: str = "cpu") -> Tensor:
    """The fixed validation list: the centre crop of the first `n` pictures, (n, 3, size, size) in [0, 1]."""
    out = []
    for im in read_tar(Path(path))[:n]:
        t, left = (im.shape[1] - size) // 2, (im.shape[2] - size) // 2
        out.append(im[:, t : t + size, left : left + size].float() / 255)
    return torch.stack(out).to(device)
