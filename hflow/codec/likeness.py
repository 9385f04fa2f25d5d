"""How unlike two pictures are, in the terms of the bundle's own analysis network.

Its features at 1/4, 1/8 and 1/16 of the resolution were trained to say what a decoder needs to know for a picture that
looks right. As in LPIPS (Zhang et al., CVPR 2018, 3) they are scaled to unit length at every place before they are
compared; here each channel counts by its spread over the original. That follows LPIPS well enough to be optimised
(docs/effort.md), and takes no weights that a bundle does not already have.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hflow.nets.analysis import Analysis

WEIGHTS = (1 / 3, 1 / 3, 1 / 3)  # of the three resolutions


class Likeness:
    """Measures pictures (B, 3, H, W) in 0..1 against their originals, H and W multiples of 32."""

    def __init__(self, analysis: Analysis, original: Tensor) -> None:
        self.analysis = analysis
        with torch.no_grad():
            self.features = self._features(original)
        self.spread = [f.var((0, 2, 3), keepdim=True).sqrt() + 1e-3 for f in self.features]

    def _features(self, x: Tensor) -> list[Tensor]:
        a = self.analysis
        h4 = a.stem(F.pixel_unshuffle(x * 2 - 1, 4))
        h8 = a.to8(F.leaky_relu(h4, 0.1))
        h16 = a.to16(F.leaky_relu(h8, 0.1))
        return [F.normalize(f.float(), dim=1, eps=1e-3) for f in (h4, h8, h16)]

    def distance(self, x: Tensor) -> Tensor:
        """0 for the original itself; about 2 for a picture that has nothing in common with it."""
        total = x.new_zeros(())
        for weight, found, own, spread in zip(WEIGHTS, self._features(x), self.features, self.spread, strict=True):
            total = total + weight * ((found - own) / spread).square().mean()
        return total
