"""Ways to choose the tokens that are sent, at equal size, and what each saves against uniform 1_4 at equal quality.

hflow bench masking FOLDER --metrics DIR
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

import hflow
from hflow.bench.measure import Metrics, read
from hflow.bench.quality import average
from hflow.errors import TargetError

KINDS = ("1_4", "rd", "complexity", "all", "none", "auto")
Point = tuple[float, float, float]  # mean bpp, PSNR, LPIPS-Alex


def run(
    paths: list[Path], bpps: list[float], metrics: Metrics, progress: Callable[[str], None]
) -> dict[str, list[Point]]:
    """The rate-distortion curve of every kind: means over the pictures that reach all targets."""
    found: dict[tuple[str, float], list[Point]] = {(k, b): [] for k in KINDS for b in bpps}
    for path in paths:
        progress(path.name)
        rgb = read(path)
        area = rgb.shape[0] * rgb.shape[1]
        for kind, bpp in found:
            try:
                data = hflow.encode(rgb, bpp, masking=kind)
            except TargetError:
                continue
            scores = metrics(rgb, np.asarray(hflow.decode(data)))
            psnr, lpips = (average([scores.get(k)]) for k in ("psnr", "lpips_alex"))
            found[kind, bpp].append((8 * len(data) / area, psnr, lpips))
    full = {k: [p for b in bpps if len(p := found[k, b]) == len(paths)] for k in KINDS}
    return {k: [tuple(np.mean(p, 0)) for p in points] for k, points in full.items()}


def saving(curve: list[Point], base: list[Point], column: int) -> float | None:
    """How many of `base`'s bits `curve` saves at equal score, in per cent: the mean over the scores that both reach.

    column: 1 PSNR, 2 LPIPS. Rates are interpolated in their logarithm. None if the curves have no score in common.
    """
    sign = 1 if column == 1 else -1
    (xa, ya), (xb, yb) = ([np.array(v) for v in zip(*sorted((sign * p[column], np.log(p[0])) for p in c), strict=True)]
                          for c in (curve, base))  # fmt: skip
    low, high = max(xa[0], xb[0]), min(xa[-1], xb[-1])
    if low >= high:
        return None
    at = np.linspace(low, high, 50)
    return float(100 * (1 - np.exp((np.interp(at, xa, ya) - np.interp(at, xb, yb)).mean())))


def markdown(curves: dict[str, list[Point]], pictures: int) -> str:
    """Tables of the curves and of the savings."""
    lines = [f"{pictures} pictures.", "", "| masking | mean bpp | PSNR dB | LPIPS-Alex |", "|---|---|---|---|"]
    lines += [f"| {k} | {b:.4f} | {p:.2f} | {v:.3f} |" for k, points in curves.items() for b, p, v in points]
    lines += ["", "| masking | bits saved against 1_4 at equal LPIPS-Alex | at equal PSNR |", "|---|---|---|"]
    for kind, points in curves.items():
        if kind != "1_4" and len(points) > 1 and len(curves["1_4"]) > 1:
            cells = [saving(points, curves["1_4"], c) for c in (2, 1)]
            lines.append(f"| {kind} | " + " | ".join("-" if c is None else f"{c:z.0f} %" for c in cells) + " |")
    return "\n".join(lines) + "\n"
