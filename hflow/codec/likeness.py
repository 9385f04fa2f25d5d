"""How unlike two pictures are, in the terms of the bundle's own analysis network.

Its features at 1/4, 1/8 and 1/16 of the resolution were trained to say what a decoder needs to know for a picture that
looks right. As in LPIPS (Zhang et al., CVPR 2018, 3) they are scaled to unit length at every place before they are
compared; here each channel counts by its spread over the original. The pictures are compared as they are and at half
their size, so that what pleases the network at one scale alone gains little. That follows LPIPS well enough to be
optimised (docs/effort.md), and takes no weights that a bundle does not already have.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hflow.nets.analysis import Analysis

LARGE = 128  # pixels on the shorter side, from which on half the size has something to say


class Likeness:
    """Measures pictures (B, 3, H, W) in 0..1 against their originals, H and W multiples of 32."""

    def __init__(self, analysis: Analysis, original: Tensor) -> None:
        self.analysis = analysis
        with torch.no_grad():
            self.features = self._features(original)
        self.spread = [f.var((0, 2, 3), keepdim=True).sqrt() + 1e-3 for f in self.features]

    def _features(self, x: Tensor) -> list[Tensor]:
        """Unit-length features of three resolutions, of the picture and, if it is large, of it at half its size."""
        a, out = self.analysis, []
        for scaled in (x, F.avg_pool2d(x, 2)) if min(x.shape[2:]) >= LARGE else (x,):
            h4 = a.stem(F.pixel_unshuffle(scaled * 2 - 1, 4))
            h8 = a.to8(F.leaky_relu(h4, 0.1))
            h16 = a.to16(F.leaky_relu(h8, 0.1))
            out += [F.normalize(f.float(), dim=1, eps=1e-3) for f in (h4, h8, h16)]
        return out

    def distance(self, x: Tensor) -> Tensor:
        """0 for the original itself; about 2 for a picture that has nothing in common with it."""
        pairs = zip(self._features(x), self.features, self.spread, strict=True)
        return torch.stack([((found - own) / spread).square().mean() for found, own, spread in pairs]).mean()
