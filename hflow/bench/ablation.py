"""What each part contributes, on a folder of pictures, as a Markdown table.

    hflow bench ablation FOLDER [--level 44] [--metrics DIR] [-o docs/ablation.md]

Index bits: the information of real frequencies, M = 1, every token sent. "Without the continuous latent" runs the same
network in the mode that files without a continuous stream use, which it was trained for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np

from hflow.bench import orders
from hflow.bench.measure import lpips, pictures, psnr, read
from hflow.codec import pixels, tokens
from hflow.codec.geometry import Geometry
from hflow.nets.bundle import Model
from hflow.nets.grids import sent_grid


class Picture:
    """One picture's streams at one rate level."""

    def __init__(self, model: Model, path: Path, level: int) -> None:
        self.rgb = read(path)
        self.geo = Geometry(self.rgb.shape[1], self.rgb.shape[0])
        found = pixels.trunk(model, self.rgb)
        _, self.y = pixels.latents(model, found, level)
        self.whole = pixels.token_indices(model, found, self.y, level)  # (2h, 2w, m_max), as the predictor sees it
        self.q = self.whole[: self.geo.th, : self.geo.tw]
        self.q0 = pixels.token_indices(model, found, None, None)[: self.geo.th, : self.geo.tw]

    def sent(self, mask: str) -> np.ndarray:
        """Which tokens a schedule sends, (th, tw) bool."""
        return sent_grid(self.geo.th, self.geo.tw, mask)


def coded_bits(model: Model, p: Picture, level: int | None, q: np.ndarray) -> float:
    """Bits per token of the five-stage coder, M = 1, all sent."""
    chunks, _ = tokens.write(model, p.geo, level, p.y if level is not None else None, 1, p.sent("all"), q)
    return 8 * sum(map(len, chunks)) / q[..., 0].size


def accuracy(model: Model, p: Picture, level: int | None, mask: str) -> float:
    """Share of the tokens not sent that the fill-in gets right, M = 1."""
    _, full = tokens.write(model, p.geo, level, p.y if level is not None else None, 1, p.sent(mask), p.q)
    missing = ~p.sent(mask)
    return float((full[..., 0] == p.q[..., 0])[missing].mean())


def marginal(columns: list[np.ndarray], v: int) -> float:
    """Entropy in bits of the pooled indices: what a static table fitted to these very pictures would need."""
    n = np.bincount(np.concatenate([c.ravel() for c in columns]), minlength=v)
    f = n[n > 0] / n.sum()
    return float(-(f * np.log2(f)).sum())


def line_error(original: np.ndarray, decoded: np.ndarray, tile: int, at: int, reach: int = 2) -> tuple[float, int]:
    """Summed squared error of the pixels within `reach` of lines every `tile` pixels from `at` on, and their number.

    The picture's own edge does not count.
    """
    near, inside = [], []
    for n in original.shape[:2]:
        k = np.arange(n)
        near.append((k - at + reach) % tile < 2 * reach)
        inside.append((k >= reach) & (k < n - reach))
    lines = (near[0][:, None] | near[1][None]) & inside[0][:, None] & inside[1][None]
    error = ((original.astype(np.float64) - decoded) ** 2).mean(2)
    return float(error[lines].sum()), int(lines.sum())


def seams(pairs: list[tuple[np.ndarray, np.ndarray]], tile: int) -> float:
    """Mean squared error at the borders of tiles relative to lines halfway between them, over (original, decoded)."""
    border, middle = (np.sum([line_error(*p, tile, at) for p in pairs], 0) for at in (0, tile // 2))
    return float((border[0] / border[1]) / (middle[0] / middle[1])) if border[1] and middle[1] else float("nan")


def shared(original: np.ndarray, decoded: np.ndarray, cell: int) -> tuple[float, float]:
    """Root mean square of what the errors of all whole cells have in common, and of what chance would leave of them.

    A decoder that sets the same mark into every cell shows in the first and not in the second.
    """
    h, w = (n // cell for n in original.shape[:2])
    error = (decoded.astype(np.float64) - original)[: h * cell, : w * cell]
    cells = error.reshape(h, cell, w, cell, -1)
    return float(np.sqrt((cells.mean((0, 2)) ** 2).mean())), float(np.sqrt((error**2).mean() / (h * w)))


@contextmanager
def its_lattice_left_in(model: Model) -> Iterator[None]:
    """The decoder without what takes its marks out of pictures (nets/lattice.py)."""
    decoder = model.nets.decoder
    kept, decoder.lattice = decoder.lattice, 0
    try:
        yield
    finally:
        decoder.lattice = kept


def mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def report(model: Model, folder: Path, level: int, metrics: Path | None) -> str:
    """The whole Markdown page."""
    head = f"Bundle {model.name} ({model.digest.hex()[:8]}), {len(pictures(folder))} pictures of `{folder.name}`, from"
    command = f"`hflow bench ablation {folder.name} --level {level}`."
    return f"# Ablation\n\n{head} {command}\n\n" + tables(model, folder, level, metrics)


def tables(model: Model, folder: Path, level: int, metrics: Path | None) -> str:
    """The Markdown tables."""
    items = [Picture(model, path, level) for path in pictures(folder)]
    distance = lpips(metrics)
    v = model.cfg.codewords
    lines = ["| coding of the first sub-quantizer | bits per token |", "|---|---|"]
    coding = {
        "marginal": marginal([p.q[..., 0] for p in items], v),
        "S = 5, without the continuous latent": mean(coded_bits(model, p, None, p.q) for p in items),
        "S = 5, with the continuous latent": mean(coded_bits(model, p, level, p.q) for p in items),
    }
    lines += [f"| {k} | {b:.3f} |" for k, b in coding.items()]
    lines += ["", "| order, five stages of equal sizes | without the continuous latent | with |", "|---|---|---|"]
    for order in orders.ORDERS:
        a, b = (mean(orders.bits(model, lv, p.y, p.whole[..., 0], order) for p in items) for lv in (None, level))
        lines.append(f"| {order} | {a:.3f} | {b:.3f} |")
    lines += ["", "| fill-in accuracy | with cross-attention | without the continuous latent |", "|---|---|---|"]
    for mask in ("1_4", "1_9", "1_16"):
        a, b = (mean(accuracy(model, p, lv, mask) for p in items) for lv in (level, None))
        lines.append(f"| {mask} | {100 * a:.1f} % | {100 * b:.1f} % |")
    lines += ["", "| decoder, level " + str(level) + " | PSNR dB | LPIPS-Alex |", "|---|---|---|"]
    full = model.cfg.m_max
    alone, marked = "continuous stream alone", "continuous stream alone, its lattice left in"
    rows = [
        (alone, 0, level, 1.0, "none", 2),
        *[(marked, 0, level, 1.0, "none", 2)] * bool(model.cfg.lattice),
        *[("continuous stream alone, without the second look", 0, level, 1.0, "none", 1)] * bool(model.cfg.feedback),
        (f"VQ decoder alone, M = {full}, all tokens", full, None, 0.0, "all", 2),
        (f"fusion decoder, M = {full}, all tokens", full, level, 1.0, "all", 2),
        ("VQ decoder alone, M = 1, all tokens", 1, None, 0.0, "all", 2),
        ("fusion decoder, M = 1, all tokens", 1, level, 1.0, "all", 2),
    ]
    common: dict[str, np.ndarray] = {}  # of these two, what `shared` says
    for name, m, lv, alpha, mask, looks in rows:
        decoded = []
        with its_lattice_left_in(model) if name == marked else nullcontext():
            for p in items:
                q = (p.q if lv is not None else p.q0)[..., :m] if m else None
                y = p.y if lv is not None else None
                decoded.append(pixels.synthesize(model, p.geo, lv, y, q, p.sent(mask), alpha, looks=looks))
        pairs = [(p.rgb, out) for p, out in zip(items, decoded, strict=True)]
        if name in (alone, marked):
            common[name] = np.mean([shared(*k, 32) for k in pairs], 0)
        a, b = mean(psnr(*k) for k in pairs), mean(distance(*k) if distance else float("nan") for k in pairs)
        lines.append(f"| {name} | {a:.2f} | {b:.3f} |")
    # The last row is the fusion decoder's.
    a, b = (seams(pairs, tile) for tile in (256, 32))
    text = "Squared error at the borders of 256-pixel tiles, relative to lines halfway between them"
    lines += ["", f"{text}: {a:.3f}; of 32-pixel cells: {b:.3f}."]
    of, chance = common[alone]
    text = "What the errors of all 32-pixel cells of a picture have in common, continuous stream alone"
    lattice = f"its lattice left in {common[marked][0]:.2f}; " if marked in common else ""
    lines += ["", f"{text}: {of:.2f} of 255 (root mean square; {lattice}chance would leave {chance:.2f})."]
    used = [np.unique(np.concatenate([p.q[..., k].ravel() for p in items])).size / v for k in range(full)]
    perplexity = [2 ** marginal([p.q[..., k] for p in items], v) for k in range(full)]
    lines += ["", "| sub-quantizer | codewords in use | perplexity |", "|---|---|---|"]
    lines += [f"| {k + 1} | {100 * u:.0f} % | {x:.0f} |" for k, (u, x) in enumerate(zip(used, perplexity, strict=True))]
    return "\n".join(lines) + "\n"
