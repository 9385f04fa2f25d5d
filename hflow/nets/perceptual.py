"""Features in which pictures that look alike are near each other. Only the encoder has them, and only for refinement.

A small network beside the bundle's analysis network, which lends it what it sees at 1/8 and 1/16 of the resolution. It
was taught the distances of LPIPS-squeeze (hflow/train/perceptual.py). A bundle can do without.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from hflow.errors import BundleError
from hflow.nets import distances
from hflow.nets.blocks import conv, to_depth
from hflow.nets.bundle import Model, restore
from hflow.nets.caller import alone
from hflow.nets.config import NetConfig

FILE = "perceptual.safetensors"  # in a bundle's folder, beside its weights
WIDTHS = 32, 64, 96, 128  # at 1/2, 1/4, 1/8 and 1/16 of the resolution
SIZES = 24, 40, 64, 88  # features there


class Block(nn.Module):
    """x + conv3x3(act(conv1x1(x))), half as wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a, self.b = conv(channels, channels // 2, 1), conv(channels // 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(F.leaky_relu(self.a(x), 0.1))


class Perceptual(nn.Module):
    """Pictures (B, 3, H, W) in 0..1, H and W multiples of 16, to features at four resolutions."""

    weights: Tensor  # of the four in the distance

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        a, b, c, d = WIDTHS
        _, w8, w16, _ = cfg.widths
        self.down = nn.ModuleList([conv(12, a), *(conv(n, m, stride=2) for n, m in ((a, b), (b, c), (c, d)))])
        self.mix8, self.mix16 = conv(w8, c, 1), conv(w16, d, 1)
        self.body = nn.ModuleList([nn.Identity(), Block(b), Block(c), nn.Sequential(Block(d), Block(d), Block(d))])
        self.heads = nn.ModuleList([conv(w, n, 1) for w, n in zip(WIDTHS, SIZES, strict=True)])
        self.register_buffer("weights", torch.ones(4))
        for m in self.modules():
            if isinstance(m, nn.Conv2d) and m.bias is not None:
                nn.init.kaiming_normal_(m.weight, 0.1)
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor, h8: Tensor, h16: Tensor) -> list[Tensor]:
        """h8, h16: what the analysis network makes of x, at 1/8 and 1/16 of the resolution."""
        beside = None, None, self.mix8(5 * F.normalize(h8, dim=1)), self.mix16(5 * F.normalize(h16, dim=1))
        h, out = to_depth(x * 2 - 1, 2), []
        for down, more, body, head in zip(self.down, beside, self.body, self.heads, strict=True):
            h = down(h) if more is None else down(h) + more
            h = F.leaky_relu(body(h), 0.1)
            out.append(head(h))
        return out

    def distance(self, found: list[Tensor], own: list[Tensor]) -> Tensor:
        """Of two pictures' features: about what LPIPS-squeeze says, a scalar."""
        each = [distances.squared(a, b) for a, b in zip(found, own, strict=True)]
        return (torch.stack(each) * self.weights).sum()


@lru_cache(maxsize=4)
@alone
def _load(path: Path, device: str, cfg: NetConfig) -> Perceptual | None:
    if not path.exists():
        return None
    try:
        net = Perceptual(cfg)
        net.load_state_dict(restore(load_file(path)), assign=True)
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        raise BundleError(f"{path}: not the perceptual network ({error})") from error
    net.to(memory_format=torch.channels_last)
    return net.to(device).eval().requires_grad_(False)


def load_perceptual(model: Model) -> Perceptual | None:
    """The network of a bundle, None if it has none. BundleError if it is damaged."""
    return _load(model.path / FILE, str(model.device), model.cfg)
