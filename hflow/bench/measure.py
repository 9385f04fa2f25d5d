"""PSNR, MS-SSIM and, where the perceptual networks are at hand, LPIPS of decoded pictures."""

from __future__ import annotations

import importlib.util
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from hflow.errors import InputError
from hflow.output import reason

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
Distance = Callable[[np.ndarray, np.ndarray], float]


def pictures(folder: Path, deep: bool = False) -> list[Path]:
    """The images of a folder, and with `deep` of those below it, sorted. InputError if there are none."""
    try:
        found = [p for p in (folder.rglob("*") if deep else folder.iterdir()) if p.suffix.lower() in SUFFIXES]
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: {reason(error)}") from error
    found = sorted(p for p in found if not p.name.startswith("._"))  # what macOS leaves beside files
    if not found:
        raise InputError(f"{folder}: no images in this folder")
    return found


def read(path: Path) -> np.ndarray:
    """(H, W, 3) uint8. InputError if it cannot be read."""
    try:
        return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))  # a pipe can be read once
    except Exception as error:  # damaged files make Pillow's readers fail in every way there is
        raise InputError(f"{path}: {reason(error)}") from error


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over all samples of two uint8 pictures."""
    mse = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / mse)) if mse else float("inf")


def load_lpips(metrics: str | Path, net: str) -> Any:
    """LPIPS v0.1 with the backbone `net` as a torch module, from a folder that holds perceptual.py and its weights."""
    path = Path(metrics) / "perceptual.py"
    spec = importlib.util.spec_from_file_location("hflow_perceptual", path)
    if spec is None or spec.loader is None or not os.path.isfile(path):
        raise InputError(f"{path}: no perceptual networks there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.LPIPS(net)


def lpips(metrics: Path | None, net: str = "alex") -> Distance | None:
    """LPIPS v0.1 with the backbone `net`, from a folder with perceptual.py and its weights; None without one."""
    if metrics is None:
        return None
    model = load_lpips(metrics, net)

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        with torch.inference_mode():
            return float(model(*((2 * x - 1) for x in _tensors(a, b))))

    return distance


def ms_ssim() -> Distance | None:
    """Multi-scale SSIM (Wang et al., Asilomar 2003) of RGB; None where pytorch-msssim is not installed."""
    if importlib.util.find_spec("pytorch_msssim") is None:
        return None
    from pytorch_msssim import ms_ssim as measure

    def similarity(a: np.ndarray, b: np.ndarray) -> float:
        if min(a.shape[:2]) <= 160:  # five scales of an 11-pixel window
            return float("nan")
        with torch.inference_mode():
            return float(measure(*_tensors(a, b), data_range=1.0))

    return similarity


def _tensors(*pictures: np.ndarray) -> list[torch.Tensor]:
    """(H, W, 3) uint8 to (1, 3, H, W) in [0, 1]."""
    return [torch.from_numpy(x.astype(np.float32) / 255).permute(2, 0, 1)[None] for x in pictures]


class Metrics:
    """Everything that is measured, by name: psnr in dB, ms_ssim, lpips_alex (each where it is at hand)."""

    def __init__(self, folder: Path | None = None) -> None:
        every = {"psnr": psnr, "ms_ssim": ms_ssim(), "lpips_alex": lpips(folder)}
        self.measures: dict[str, Distance] = {k: f for k, f in every.items() if f is not None}

    @property
    def names(self) -> list[str]:
        return list(self.measures)

    def __call__(self, original: np.ndarray, decoded: np.ndarray) -> dict[str, float | None]:
        """None for what cannot be measured on pictures this small, or is infinite."""
        found = {k: f(original, decoded) for k, f in self.measures.items()}
        return {k: v if np.isfinite(v) else None for k, v in found.items()}
