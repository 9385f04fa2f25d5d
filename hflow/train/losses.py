"""Perceptual losses on pictures that were degraded alike, so that no network's blind spot can be exploited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hflow.bench.measure import load_lpips
from hflow.nets.blocks import between

Harm = float | str  # a share of the size to scale to, "blur" or "none"


def knots(weight: float | list[float], device: str | torch.device) -> Tensor:
    """A recipe's setting for `between`: one number for all rates, or several spread evenly over them."""
    return torch.tensor(weight if isinstance(weight, list) else [weight, weight], dtype=torch.float32, device=device)


def draw_harm(rng: np.random.Generator, share: float) -> tuple[Harm, Tensor]:
    """A random down-scale or blur, either in half of a `share`, else nothing; and the blur's kernel (7,).

    On plain pixels alone a decoder learns a fine lattice that pleases one network and no other; without them it learns
    nothing about the finest detail.
    """
    u, sigma = rng.random(), rng.uniform(0.4, 1.2)
    k = torch.exp(-(torch.arange(-3, 4, dtype=torch.float32) ** 2) / (2 * sigma**2))
    # Few sizes, as a device's library tunes itself to each.
    return float(rng.choice([0.5, 0.65, 0.8])) if u < share / 2 else "blur" if u < share else "none", k / k.sum()


def degrade_pair(x: Tensor, y: Tensor, harm: Harm, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """The same harm done to both (B, 3, H, W)."""
    both = torch.cat([x, y])
    if isinstance(harm, float):
        both = F.interpolate(both, [round(n * harm) for n in x.shape[2:]], mode="bilinear", antialias=True)
    elif harm == "blur":
        k = kernel.to(x.device).expand(3, 1, 7)
        both = F.conv2d(F.conv2d(both, k[:, :, :, None], groups=3), k[:, :, None, :], groups=3)
    a, b = both.contiguous(memory_format=torch.channels_last).chunk(2)
    return a, b


def pushed(free: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """n random places in 0..free, a quarter of them at either end, or the borders of pictures would hardly be seen."""
    return rng.integers(-(free // 2), free + free // 2 + 1, size=n).clip(0, free)


def draw_views(n: int, height: int, width: int, size: int, rng: np.random.Generator) -> Tensor:
    """Random views of n pictures, (n, 6) int64 for `view`: a square window, turned or mirrored, its colours exchanged.

    A perceptual network has a grid of its own, directions and colours that it knows best, and a decoder learns marks
    that please it and nobody else. From many sides at once it is hard to deceive (E-LPIPS: Kettunen, Harkonen and
    Lehtinen, 2019, 3).
    """
    top, left = (pushed(extent - size, n, rng) for extent in (height, width))
    corner = top * width + left
    steps = rng.permuted(np.tile([width, 1], (n, 1)), axis=1) * rng.choice([-1, 1], size=(n, 2))
    first = corner - (size - 1) * np.minimum(steps, 0).sum(1)  # where a step goes back, it starts at the far end
    colours = rng.permuted(np.tile([0, 1, 2], (n, 1)), axis=1)
    return torch.from_numpy(np.column_stack([first, steps, colours]))


def view(x: Tensor, views: Tensor, size: int) -> Tensor:
    """Pictures (B, 3, H, W) as `draw_views` drew them, (B, 3, size, size)."""
    first, down, along = views[:, :3, None, None].unbind(1)
    k = torch.arange(size, device=x.device)
    places = (first + down * k[:, None] + along * k).flatten(1)
    x = x.flatten(2)
    x = x.gather(1, views[:, 3:, None].expand(-1, -1, x.shape[2]))
    return x.gather(2, places[:, None].expand(-1, 3, -1)).view(len(x), 3, size, size)


def unit_distance(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """LPIPS's distance of two feature maps (B, C, H, W), channel weights w (C,): (B,).

    Expanded into sums over channels, plain and weighted in one product, so that no normalised copy of a map is made:
    a third of the time on a CPU.
    """
    both = torch.stack([torch.ones_like(w), w], 1).to(a.dtype)

    def sums(u: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        return ((u * v).permute(0, 2, 3, 1) @ both).float().unbind(-1)

    (na, da), (nb, db), (_, dab) = sums(a, a), sums(b, b), sums(a, b)
    na, nb = na.clamp_min(1e-10), nb.clamp_min(1e-10)
    d = da / na + db / nb - 2 * dab * (na * nb).rsqrt()
    return d.clamp_min(0).mean((1, 2))


def lpips_layers(net: Any, x: Tensor, y: Tensor) -> list[Tensor]:
    """LPIPS by layer, each (B,), of x, y in [0, 1] for training."""
    with torch.no_grad():
        fx = net.features(x * 2 - 1)
    pairs = zip(fx, net.features(y * 2 - 1), strict=True)
    return [unit_distance(a, b, getattr(net, f"lin{k}").flatten()) for k, (a, b) in enumerate(pairs)]


def lpips_loss(net: Any, x: Tensor, y: Tensor) -> Tensor:
    """LPIPS (B,) of x, y in [0, 1] for training; `load_lpips(...)` itself is the exact one, for measuring."""
    return sum(lpips_layers(net, x, y), torch.zeros(x.shape[0], device=x.device))


def common_error(x: Tensor, y: Tensor, block: int = 32) -> Tensor:
    """Mean square of what the errors of all blocks of a picture have in common; x, y (B, 3, H, W): (B,).

    Texture that is wrong in its own way in every block averages out; what a decoder stamps on every block alike stays.
    H and W are multiples of `block`.
    """
    b, c, h, w = x.shape
    error = (y - x).view(b, c, h // block, block, w // block, block)
    return error.mean((2, 4)).square().mean((1, 2, 3))


class EarlyVGG(nn.Module):
    """Squared distance of unit-normalised relu1_2 and relu2_2 features of VGG-16, weighted as in LPIPS-vgg."""

    mean: Tensor
    std: Tensor

    def __init__(self, metrics: str | Path) -> None:
        super().__init__()
        with np.load(Path(metrics) / "vgg16_first4conv.npz") as z:
            self.keys = list(z.files)
            for k in z.files:
                self.register_buffer(k.replace(".", "_"), torch.from_numpy(z[k].astype(np.float32)))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def features(self, x: Tensor) -> list[Tensor]:
        h = (x - self.mean) / self.std
        out = []
        for k, pool in (("0", False), ("2", False), ("5", True), ("7", False)):
            if pool:
                h = F.max_pool2d(h, 2)
            h = F.relu(
                F.conv2d(h, getattr(self, f"features_{k}_weight"), getattr(self, f"features_{k}_bias"), padding=1)
            )
            if k in "27":
                out.append(h)
        return out

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        total = torch.zeros(x.shape[0], device=x.device)
        for k, (a, b) in enumerate(zip(self.features(x), self.features(y), strict=True)):
            total = total + unit_distance(a, b, getattr(self, f"lin{k}"))
        return total


class Weighed:
    """The losses of a picture whose weights go with its rate (`knots`): squared error, LPIPS-squeeze and early VGG.

    weights: a recipe's settings, of which `NAMES` are read; window: pixels of a view; vgg_crop: of those VGG sees.
    """

    NAMES = ("mse", "squeeze", "half", "vgg")  # half: LPIPS-squeeze at half the size

    def __init__(
        self, weights: dict[str, Any], squeeze: nn.Module, metrics: str | Path, window: int, vgg_crop: int, device: str
    ) -> None:
        self.weights = {k: knots(weights[k], device) for k in self.NAMES}
        self.heard = {k: bool(w.any()) for k, w in self.weights.items()}
        self.squeeze, self.window, self.vgg_crop = squeeze, window, vgg_crop
        self.vgg = EarlyVGG(metrics).to(device).requires_grad_(False) if self.heard["vgg"] else None

    def terms(self, x: Tensor, y: Tensor, views: Tensor, harm: Harm, kernel: Tensor) -> dict[str, Tensor]:
        """Each that is heard, (B,), of pictures x and decodes y (B, 3, H, W), as `draw_views` and `draw_harm` drew."""
        pair = view(x, views, self.window), view(y, views, self.window)
        xc, yc = degrade_pair(*pair, harm, kernel)
        terms = {"mse": (x - y).square().mean((1, 2, 3)), "squeeze": lpips_loss(self.squeeze, xc, yc)}
        if self.heard["half"]:
            terms["half"] = lpips_loss(self.squeeze, *degrade_pair(*pair, 0.5, kernel))
        if self.vgg is not None:
            n = self.vgg_crop
            terms["vgg"] = self.vgg(xc[:, :, :n, :n], yc[:, :, :n, :n]).float()
        return terms

    def total(self, terms: dict[str, Tensor], rate: Tensor) -> Tensor:
        """What `terms` gave, weighed at rates (B,); a scalar. Beyond 1 the last weights hold: no line to below 0."""
        told = rate.clamp(max=1)
        return torch.stack([(between(self.weights[k], told) * v).mean() for k, v in terms.items()]).sum()


__all__ = [
    "EarlyVGG",
    "Weighed",
    "common_error",
    "degrade_pair",
    "draw_harm",
    "draw_views",
    "knots",
    "load_lpips",
    "lpips_layers",
    "lpips_loss",
    "unit_distance",
    "view",
]
