"""PSNR and, where the perceptual networks are at hand, LPIPS of decoded pictures."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


def pictures(folder: Path) -> list[Path]:
    """The images of a folder, sorted by name. FileNotFoundError if there are none."""
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not found:
        raise FileNotFoundError(f"no images in {folder}")
    return found


def read(path: Path) -> np.ndarray:
    """(H, W, 3) uint8."""
    return np.asarray(Image.open(path).convert("RGB"))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over all samples of two uint8 pictures."""
    mse = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / mse)) if mse else float("inf")


def load_lpips(metrics: str | Path, net: str) -> Any:
    """LPIPS v0.1 with the backbone `net` as a torch module, from a folder that holds perceptual.py and its weights."""
    path = Path(metrics) / "perceptual.py"
    spec = importlib.util.spec_from_file_location("hflow_perceptual", path)
    if spec is None or spec.loader is None or not path.exists():
        raise FileNotFoundError(f"{path}: no perceptual networks there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.LPIPS(net)


def lpips(metrics: Path | None, net: str = "alex") -> Callable[[np.ndarray, np.ndarray], float] | None:
    """LPIPS v0.1 with the backbone `net`, from a folder with perceptual.py and its weights; None without one."""
    if metrics is None:
        return None
    model = load_lpips(metrics, net)

    def tensor(a: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(a.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        with torch.inference_mode():
            return float(model(tensor(a), tensor(b)))

    return distance
