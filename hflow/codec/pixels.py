"""Float networks at the codec's edge: picture to features, indices to picture; large ones in overlapping tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from hflow.codec.geometry import CELL, RATE_ONE, Geometry
from hflow.codec.threads import steady
from hflow.nets.analysis import OFFSET, quantize
from hflow.nets.bundle import Model
from hflow.nets.caller import exact
from hflow.nets.feedback import answered

TILE, MARGIN = 1024, 192  # pixels, multiples of CELL; the margin covers what a pixel's neighbourhood can tell
LATENT_MAX = 1023  # far beyond what a trained bundle produces, well within what the format can say
WHOLE = 1536 * 1536  # up to here a picture is one tile, unless it is longer than LONG sides of one
LONG = 4
Progress = Callable[[float], None] | None
Work = Callable[[slice, slice], tuple[Tensor, ...]]  # cells of a tile, rows and columns, to what is made of them


def tiles(geo: Geometry, sizes: tuple[int, int, int] | None = None) -> Iterator[tuple[slice, slice, slice, slice]]:
    """In cells: (rows, columns) with margin, and (rows, columns) of the core within them.

    sizes: pixels, whole cells, up to which a picture is one tile, pixels on a side of a tile else, and of the margin
    around it. In a strip they are longer, up to LONG sides. Memory is a tile's, whatever the picture's shape.
    """
    whole, tile, border = sizes or (WHOLE, TILE, MARGIN)
    if geo.area <= whole and max(geo.w, geo.h) * CELL <= LONG * tile:
        full = slice(0, geo.h), slice(0, geo.w)
        yield (*full, *full)
        return
    side, margin = tile // CELL, border // CELL

    def cuts(n: int, across: int) -> list[tuple[slice, slice]]:
        out, size = [], min(LONG * side, max(side, side**2 // across))
        for a in range(0, n, size):
            low, high = max(0, a - margin), min(n, a + size + margin)
            out.append((slice(low, high), slice(a - low, min(n, a + size) - low)))
        return out

    for rows, core_r in cuts(geo.h, geo.w):
        for cols, core_c in cuts(geo.w, geo.h):
            yield rows, cols, core_r, core_c


def scaled(s: slice, k: int) -> slice:
    """A slice on a grid k times as fine."""
    return slice(s.start * k, s.stop * k)


def in_tiles(geo: Geometry, scales: tuple[int, ...], work: Work, progress: Progress = None) -> list[Tensor]:
    """Whole tensors (1, C, k * h, k * w), one for each k in `scales`, of what `work` makes of every tile.

    Each tile has its margin. progress: called with the share done.
    """
    out: list[Tensor] = []
    parts = list(tiles(geo))
    for n, (rows, cols, core_rows, core_cols) in enumerate(parts):
        found = work(rows, cols)
        if not out:
            empty = [f.new_empty(1, k * geo.h, k * geo.w, f.shape[1]) for f, k in zip(found, scales, strict=True)]
            out = [f.permute(0, 3, 1, 2) for f in empty]  # channels last, as networks and pictures have them
        for whole, part, k in zip(out, found, scales, strict=True):
            core = part[:, :, scaled(core_rows, k), scaled(core_cols, k)]
            r, c = k * (rows.start + core_rows.start), k * (cols.start + core_cols.start)
            whole[:, :, r : r + core.shape[2], c : c + core.shape[3]] = core
        if progress:
            progress((n + 1) / len(parts))
    return out


def part_of(progress: Progress, start: float, end: float) -> Progress:
    """Tells the share done of a part of the work as a share of the whole."""
    return progress and (lambda share: progress(start + (end - start) * share))


def rows_first(x: Tensor) -> np.ndarray:
    """(1, C, H, W) to an array (H, W, C); copies nothing on a CPU where the channels are last."""
    return x[0].permute(1, 2, 0).contiguous().cpu().numpy()


def whole_cells(rgb: np.ndarray, geo: Geometry) -> np.ndarray:
    """A picture (H, W, 3) with its edges repeated up to whole cells."""
    return np.pad(rgb, ((0, geo.h * CELL - geo.height), (0, geo.w * CELL - geo.width), (0, 0)), mode="edge")


def _area(found: tuple[Tensor, Tensor]) -> int:
    """Pixels of the picture, whole cells, that trunk features are of."""
    return CELL**2 * found[1].shape[2] * found[1].shape[3]


@torch.inference_mode()
@exact
@steady(lambda rgb: Geometry(rgb.shape[1], rgb.shape[0]).area)
def trunk(model: Model, rgb: np.ndarray) -> tuple[Tensor, Tensor]:
    """Picture (H, W, 3) uint8, edges repeated up to whole cells, to h16 (1, C16, 2h, 2w) and linear y (1, C, h, w)."""
    geo = Geometry(rgb.shape[1], rgb.shape[0])
    rgb = whole_cells(rgb, geo)

    def work(rows: slice, cols: slice) -> tuple[Tensor, Tensor]:
        part = torch.from_numpy(rgb[scaled(rows, CELL), scaled(cols, CELL)].copy()).to(model.device)
        x = (part.permute(2, 0, 1)[None].float() / 255).contiguous(memory_format=torch.channels_last)
        return model.nets.analysis.trunk(x)

    h16, linear = in_tiles(geo, (2, 1), work)
    return h16, linear


def rate_tensor(model: Model, level: float | None) -> Tensor:
    """A rate level, or one between two, as the networks take it, (1,)."""
    return torch.full((1,), (level or 0) / RATE_ONE, dtype=torch.float32, device=model.device)  # nothing to upload


def dequantised(model: Model, y: np.ndarray, level: float) -> tuple[Tensor, Tensor]:
    """The latent in steps (h, w, C) as a correction network takes it: (1, C, h, w), and its rate (1,)."""
    rate = rate_tensor(model, level)
    return on_device(model, y) / model.nets.gain(rate), rate


def on_device(model: Model, y: np.ndarray) -> Tensor:
    """(h, w, C) to (1, C, h, w) fp32."""
    return torch.from_numpy(y.astype(np.float32)).to(model.device).permute(2, 0, 1)[None]


@exact
def token_planes(model: Model, geo: Geometry, tokens: np.ndarray | None, sent: np.ndarray | None) -> Tensor:
    """Tokens (th, tw, m) and which of them were sent, (th, tw) bool, as the decoder takes them; None without tokens."""
    cfg = model.cfg
    planes = torch.zeros(1, cfg.m_max * cfg.dims + 2, 2 * geo.h, 2 * geo.w, dtype=torch.float32, device=model.device)
    if tokens is not None and sent is not None:
        m = tokens.shape[-1]
        edge = ((0, 2 * geo.h - geo.th), (0, 2 * geo.w - geo.tw))
        grid = np.pad(tokens, (*edge, (0, cfg.m_max - m)), mode="edge").astype(np.int64)
        vectors = model.nets.pq.decode(torch.from_numpy(grid)[None].to(model.device))
        planes[:, : m * cfg.dims] = vectors[:, : m * cfg.dims]
        planes[:, -2] = m / cfg.m_max
        planes[:, -1] = torch.from_numpy(np.pad(sent, edge, mode="edge")).float().to(model.device)
    return planes


def synthesize(
    model: Model, geo: Geometry, level: float | None, y: np.ndarray | None, tokens: np.ndarray | None,
    sent: np.ndarray | None, fidelity: float = 1.0, progress: Progress = None, looks: int = 2,
) -> np.ndarray:  # fmt: skip
    """Indices to the picture (H, W, 3) uint8.

    sent: (th, tw) bool, which of the tokens (th, tw, m) were sent; None without tokens. fidelity: strength alpha of the
    continuous correction. looks: 1 leaves out the second one, which takes as long as the first.
    """
    with torch.inference_mode():
        planes = token_planes(model, geo, tokens, sent)
    done = 0.5  # of a decoder's time, when its indices are there
    if y is not None and fidelity and looks > 1:
        y = looked(model, geo, level or 0, y, planes, part_of(progress, done, 0.75))
        done = 0.75
    cells = synthesize_cells(model, geo, level, y, planes, fidelity, part_of(progress, done, 1.0))
    return cells[: geo.height, : geo.width]


@torch.inference_mode()
@exact
@steady(lambda geo: geo.area)
def looked(
    model: Model, geo: Geometry, level: float, y: np.ndarray, planes: Tensor, progress: Progress = None
) -> np.ndarray:
    """y in steps (h, w, C) as the bundle's feedback network answers what comes of it; as it is, if there is none."""
    if model.nets.feedback is None:
        return y
    rate = rate_tensor(model, level)

    def work(rows: slice, cols: slice) -> tuple[Tensor]:
        tokens = planes[:, :, scaled(rows, 2), scaled(cols, 2)]
        return (answered(model.nets, tokens, on_device(model, y[rows, cols]), rate),)

    return rows_first(*in_tiles(geo, (1,), work, progress))


@torch.inference_mode()
@exact
@steady(lambda geo: geo.area)
def synthesize_cells(
    model: Model, geo: Geometry, level: float | None, y: np.ndarray | None, planes: Tensor, fidelity: float = 1.0,
    progress: Progress = None,
) -> np.ndarray:  # fmt: skip
    """y, as `looked` gives it, with tokens as `token_planes`, to all of the picture's cells, (32h, 32w, 3) uint8."""
    latent = y if y is not None else np.zeros((geo.h, geo.w, model.cfg.latent))
    alpha = fidelity if y is not None else 0.0

    def work(rows: slice, cols: slice) -> tuple[Tensor]:
        cont = model.nets.decoder.correction(*dequantised(model, latent[rows, cols], level or 0))
        x = model.nets.decoder(planes[:, :, scaled(rows, 2), scaled(cols, 2)], cont, alpha)
        return (x.clamp(0, 1).mul(255).round().to(torch.uint8),)

    return rows_first(*in_tiles(geo, (CELL,), work, progress))


@torch.inference_mode()
@exact
@steady(_area)
def latents(
    model: Model,
    found: tuple[Tensor, Tensor],
    level: int,
    offset: float = OFFSET,
    least: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What `trunk` found to integers: z (zh, zw, Cz) and y (h, w, C).

    offset: of the rounding, as in `quantize`. least: (h, w), values below it, in steps, become 0.
    """
    rate = rate_tensor(model, level)
    steps = model.nets.analysis.latent(*found, rate) * model.nets.gain(rate)
    scaled = quantize(steps, offset)
    if least is not None:
        scaled = scaled * (steps.abs() >= torch.from_numpy(least).to(steps))
    scaled = scaled.clamp(-LATENT_MAX, LATENT_MAX)
    z = model.nets.hyper(scaled).round().clamp(-LATENT_MAX, LATENT_MAX)
    y, z = (rows_first(v).astype(np.int64) for v in (scaled, z))
    return z, y


@torch.inference_mode()
@exact
@steady(_area)
def token_indices(model: Model, found: tuple[Tensor, Tensor], y: np.ndarray | None, level: int | None) -> np.ndarray:
    """Trunk features and the continuous stream to all token indices (2h, 2w, m_max)."""
    h16 = found[0]
    c16 = torch.zeros_like(h16)
    if y is not None and level is not None:
        c16 = model.nets.decoder.correction.at16(*dequantised(model, y, level))
    return model.nets.pq.encode(model.nets.head(h16, c16))[0].cpu().numpy()
