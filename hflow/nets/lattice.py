"""What a decoder draws alike into cell after cell is taken out of its pictures: a lattice is no texture.

A network that decodes every cell of 32 x 32 pixels alike, and is taught to please a perceptual network where it knows
nothing, answers with marks at the same place of every cell. A photo has next to none: what its cells have in common
is chance. So each cell is compared with its neighbours. The mean of n of them keeps what repeats and an n-th of the
power of what does not, which tells how much of it is lattice (Wiener's filter; as fixed-pattern noise of a sensor is
found, Lukas, Fridrich and Goljan, IEEE TIFS 2006, 3). Faint ones pass for grain and stay in part.

A line through many cells repeats as well, along itself. So what does not change down a cell is compared with
neighbours to the left and right alone, and what does not change along it with those above and below.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from hflow.nets.linear import BLOCK as CELL

SMOOTH = 5  # pixels of a box that, applied twice, leaves what is too coarse to be looked at
UPTO = 0.4  # of what is plain, how much is taken out: the rest is grain, without its peaks
PEAK = 1.0  # of the root mean square of marks; what stands out more is taken out whatever the share
LOUD = 2 / 255  # root mean square of stripes; a decoder's are fainter, louder ones are a fence
VARIES = 2.0  # a cell's marks are at most so much stronger than its neighbours'
PLACES = 1, 3, 5  # of a cell: colour, row and column
STRETCH = 64  # cells to a matrix product: with all of a side at once, time and memory would grow with its square
WINDOWS = 64  # matrices kept, of at most STRETCH rows
TINY = 1e-9


class Kind(NamedTuple):
    """least: with fewer cells to compare, chance is taken for a lattice.

    faint, plain: its share of the fine detail's power that nobody sees, and that everybody does. first: how much of
    what is faint is taken out.
    """

    least: int
    faint: float
    plain: float
    first: float


MARKS = Kind(9, 0.15, 0.5, 0.2)
STRIPES = Kind(4, 0.3, 0.7, 0.0)


def without_lattice(x: Tensor, reach: int) -> Tensor:
    """Pictures (B, 3, 32h, 32w), values in about 0..1, less what cells share with those up to `reach` cells away.

    Gradients take as given what is coarse, and how much of the rest is removed.
    """
    return x - lattice_of(x, reach)


def lattice_of(x: Tensor, reach: int) -> Tensor:
    """What `without_lattice` takes out."""
    b, c, height, width = x.shape
    x = x.contiguous()  # one colour after the other: columns of a cell lie side by side
    cells = (x - _smooth(x)).view(b, c, height // CELL, CELL, width // CELL, CELL)
    down, along = cells.mean(3, keepdim=True), cells.mean(5, keepdim=True)
    even = down.mean(5, keepdim=True)
    size = 2 * reach + 1
    taken = _marks((cells - down).sub_(along - even), size)  # in place: memory anew takes its time
    taken.add_(_stripes(down - even, size, (size, 1))).add_(_stripes(along - even, size, (1, size)))
    return taken.view(x.shape)


def _marks(part: Tensor, size: int) -> Tensor:
    """What is to go of single places of cells, (B, C, h, rows, w, columns)."""
    seen = _compared(part, MARKS, size, (1, 1))
    with torch.no_grad():
        height = seen.mean.square().mean(1, keepdim=True).sqrt()
        peak = (1 - PEAK * seen.power.sqrt() / height.clamp(min=TINY)).clamp(min=0)
        alike = (part * seen.mean).mean(PLACES, keepdim=True)
        strength = (alike / seen.power.clamp(min=TINY)).clamp(0, VARIES)
    return seen.taken((seen.much + (1 - seen.much) * peak) * strength)


def _stripes(part: Tensor, size: int, own: tuple[int, int]) -> Tensor:
    """What is to go of lines of cells, (B, C, h, rows, w, 1) or (B, C, h, 1, w, columns), that run through `own`."""
    seen = _compared(part, STRIPES, size, own)
    return seen.taken(seen.much * (2 - seen.lattice.sqrt() / LOUD).clamp(0, 1))


class Seen(NamedTuple):
    """What cells and their neighbours share: the mean (B, C, h, rows, w, columns); all else is (B, 1, h, 1, w, 1).

    power: of the mean. lattice: how much of that is one. much: how much of the lattice is to go, from 0 to 1.
    """

    mean: Tensor
    power: Tensor
    lattice: Tensor
    much: Tensor

    def taken(self, much: Tensor) -> Tensor:
        """So much of the lattice."""
        return self.mean * (much * (self.lattice / self.power.clamp(min=TINY)))


def _compared(part: Tensor, kind: Kind, size: int, own: tuple[int, int]) -> Seen:
    """A part of each cell, (B, C, h, rows, w, columns), with that of `size` cells down and along.

    own: how many of those, down and along, say the same as the cell itself and are no witnesses.
    """
    whole = size, size
    mean = _mean(part, whole)
    with torch.no_grad():
        count = _count(part, whole) / _count(part, own)
        every = _mean(_power(_mean(part, own)), whole)
        power = _power(mean)
        lattice = ((power - every / count) / (1 - 1 / count).clamp(min=TINY)).clamp(min=0) * (count >= kind.least)
        plain = ((lattice / every.clamp(min=TINY) - kind.faint) / (kind.plain - kind.faint)).clamp(0, 1)
        much = kind.first + (UPTO - kind.first) * plain
    return Seen(mean, power, lattice, much)


def _power(part: Tensor) -> Tensor:
    """Mean square of each cell."""
    return part.square().mean(PLACES, keepdim=True)


@torch.no_grad()
def _smooth(x: Tensor) -> Tensor:
    """Means over boxes, twice; one direction after the other is faster."""
    out, spare = torch.empty_like(x), torch.empty_like(x)
    for dim in (2, 3) * 2:
        x, out, spare = _box(x, dim, out), spare, out
    return x


def _box(x: Tensor, dim: int, out: Tensor) -> Tensor:
    """Means of SMOOTH places along `dim`, of as many as there are (adding moved copies takes a tenth of pooling)."""
    n, out = x.shape[dim], out.copy_(x)
    for k in range(1, min(SMOOTH // 2 + 1, n)):
        out.narrow(dim, k, n - k).add_(x.narrow(dim, 0, n - k))
        out.narrow(dim, 0, n - k).add_(x.narrow(dim, k, n - k))
    count = _near(n, SMOOTH, x.device)
    return out.div_(count[:, None] if dim == 2 else count)


def _mean(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Of `size` cells, down and along, around each, as many as there are; x (B, C, h, rows, w, columns)."""
    if size[0] > 1:
        x = _window_mean(x.flatten(3), size[0]).view(x.shape)
    if size[1] > 1:
        x = _window_mean(x, size[1])
    return x


def _window_mean(x: Tensor, size: int) -> Tensor:
    """Means over a window of `size` places along the last axis but one of x; matrix products, STRETCH places each."""
    n, reach = x.shape[-2], size // 2
    parts = []
    for start in range(0, n, STRETCH):
        end = min(n, start + STRETCH)
        low, high = max(0, start - reach), min(n, end + reach)
        window = _window(start - low, end - start, high - low, size, x.device)
        parts.append(window @ x[..., low:high, :])
    return torch.cat(parts, -2) if len(parts) > 1 else parts[0]


def _count(x: Tensor, size: tuple[int, int]) -> Tensor:
    """How many there are around each, (h, 1, w, 1)."""
    down, along = (_near(n, k, x.device) for n, k in zip((x.shape[2], x.shape[4]), size, strict=True))
    return (down[:, None] * along)[:, None, :, None]


def _near(n: int, size: int, device: torch.device) -> Tensor:
    """How many of n places lie in a window of `size` around each, (n,)."""
    before = torch.arange(n, device=device).clamp(max=size // 2)
    return (before + before.flip(0) + 1).float()


@lru_cache(WINDOWS)
def _window(first: int, count: int, n: int, size: int, device: torch.device) -> Tensor:
    """The matrix (count, n) that makes means over windows of `size` around `count` of n places from `first` on."""
    with torch.inference_mode(False):  # it will be asked for again, for gradients perhaps
        k = torch.arange(n, device=device)
        near = ((k[first : first + count, None] - k).abs() <= size // 2).float()
        return near / near.sum(1, keepdim=True)
