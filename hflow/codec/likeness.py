"""How unlike two pictures are to a viewer: what refinement lowers, beside squared error.

One judge is the bundle's own analysis network: its features at 1/4, 1/8 and 1/16 of the resolution were trained to say
what a decoder needs to know for a picture that looks right. As in LPIPS (Zhang et al., CVPR 2018, 3) they are scaled to
unit length at every place before they are compared; here each channel counts by its spread over the original. The
other, where the bundle has it, is a small network that was taught LPIPS-squeeze (hflow/nets/perceptual.py). Both see
the pictures as they are and at half their size, and may be shown them turned and mirrored. What pleases one judge at
one scale from one side alone gains little (docs/effort.md).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hflow.nets import distances
from hflow.nets.analysis import Analysis
from hflow.nets.perceptual import Perceptual

LARGE = 128  # pixels on the shorter side, from which on half the size has something to say
OWN = 0.6  # of the analysis network's distance, beside the sum over both scales of the perceptual network's
WAYS = 8  # to turn and mirror a picture
Features = tuple[list[Tensor], list[Tensor]]


def turned(x: Tensor, way: int) -> Tensor:
    """Pictures (B, C, H, W) turned by quarters and mirrored, one of `WAYS`; 0 leaves them as they are."""
    if way == 0:
        return x
    x = torch.rot90(x, way % 4, (2, 3))
    return (x.flip(3) if way >= 4 else x).contiguous(memory_format=torch.channels_last)


class Likeness:
    """Measures pictures (B, 3, H, W) in 0..1 against their originals, H and W multiples of 32."""

    def __init__(self, analysis: Analysis, perceptual: Perceptual | None, original: Tensor) -> None:
        self.analysis, self.perceptual = analysis, perceptual
        self.scales = 2 if min(original.shape[2:]) >= LARGE else 1  # the second is half the size
        self.original = original
        with torch.no_grad():
            self.own = [self._own(original, k) for k in range(self.scales)]
        self.spread = [[f.var((0, 2, 3), keepdim=True).sqrt() + 1e-3 for f in unit] for unit, _ in self.own]

    def _features(self, x: Tensor, scale: int) -> Features:
        """What the analysis network sees at three resolutions, and what the perceptual network does."""
        x = F.avg_pool2d(x, 2) if scale else x
        h4, h8, h16 = self.analysis.features(x)
        return [h4, h8, h16], [] if self.perceptual is None else self.perceptual(x, h8, h16)

    def _own(self, original: Tensor, scale: int) -> Features:
        """The same of the original, the analysis network's at unit length."""
        seen, percepts = self._features(original, scale)
        return [distances.unit(f) for f in seen], percepts

    def at(self, x: Tensor, scale: int, way: int = 0) -> Tensor:
        """One scale's share of the distance, both pictures `turned`."""
        seen, percepts = self._features(turned(x, way), scale)
        with torch.no_grad():  # kept for one way only: all of them would be much to keep
            own, own_percepts = self._own(turned(self.original, way), scale) if way else self.own[scale]
        each = zip(seen, own, self.spread[scale], strict=True)
        apart = torch.stack([distances.spread(f, o, s) for f, o, s in each]).mean()
        if self.perceptual is None:
            return apart / self.scales
        return (OWN * apart + 2 * self.perceptual.distance(percepts, own_percepts)) / self.scales

    def distance(self, x: Tensor) -> Tensor:
        """0 for the original itself; about 2 for a picture that has nothing in common with it."""
        return torch.stack([self.at(x, k) for k in range(self.scales)]).sum()
