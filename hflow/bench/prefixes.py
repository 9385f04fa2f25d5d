"""What the beginning of a file is worth, and a truncated file against one encoded for its size.

hflow bench prefixes FOLDER --metrics DIR -o docs/results/prefixes
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

import hflow
from hflow.bench.measure import Metrics, read
from hflow.bench.quality import average
from hflow.codec.truncate import truncate
from hflow.container import parse
from hflow.errors import FormatError, TargetError

Scores = dict[str, float | None]
Rows = dict[float, list[tuple[Scores, Scores, Scores | None]]]


def run(
    paths: list[Path], bpp: float, shares: list[float], metrics: Metrics, progress: Callable[[str], None]
) -> tuple[Rows, int]:
    """By share of the file: the scores of its beginning, of the file cut to that size, and of one encoded for it.

    Also how many beginnings did not decode.
    """
    rows: Rows = {s: [] for s in shares}
    failed = 0
    for path in paths:
        progress(path.name)
        rgb = read(path)
        data = hflow.encode(rgb, bpp)
        for share in shares:
            size = round(share * len(data))
            try:
                part = np.asarray(hflow.decode(data[:size], partial=True))
                cut = np.asarray(hflow.decode(truncate(data, size)))
                direct = hflow.encode(rgb, size=size)
            except (FormatError, TargetError):
                failed += 1
                continue
            same = parse(direct).settings.rate > 0
            scores = metrics(rgb, np.asarray(hflow.decode(direct))) if same else None
            rows[share].append((metrics(rgb, part), metrics(rgb, cut), scores))
    return rows, failed


def mean(scores: list[Scores], name: str) -> float:
    """Mean of what was measured; nan if nothing was."""
    return average([s.get(name) for s in scores])


def markdown(rows: Rows, failed: int, bpp: float, pictures: int) -> str:
    """A table of means, a row per share."""
    head = "| share of the file | PSNR dB | LPIPS-Alex | truncated: PSNR | LPIPS "
    head += "| encoded for the size: PSNR | LPIPS | ratio of LPIPS |"
    lines = [
        f"{pictures} pictures at {bpp:g} bpp; {failed} of the beginnings did not decode.",
        "",
        head,
        "|---" * 8 + "|",
    ]
    for share, found in rows.items():
        both = [(a, b, c) for a, b, c in found if c is not None]
        if not both:
            continue
        parts, cuts, direct = (list(x) for x in zip(*both, strict=True))
        p, q, d = (mean(x, "lpips_alex") for x in (parts, cuts, direct))
        a, b, c = (mean(x, "psnr") for x in (parts, cuts, direct))
        lines.append(
            f"| {100 * share:.0f} % | {a:.2f} | {p:.3f} | {b:.2f} | {q:.3f} | {c:.2f} | {d:.3f} | {q / d:.2f} |"
        )
    return "\n".join(lines) + "\n"


def plot(rows: Rows, path: Path) -> None:
    """LPIPS-Alex against the share of the file that is there."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(5.5, 3.8))
    shares = [s for s, found in rows.items() if found]
    curves = {
        "beginning of the file": [mean([a for a, _, _ in rows[s]], "lpips_alex") for s in shares],
        "truncated to the size": [mean([b for _, b, _ in rows[s]], "lpips_alex") for s in shares],
        "encoded for the size": [mean([c for *_, c in rows[s] if c], "lpips_alex") for s in shares],
    }
    for name, values in curves.items():
        axis.plot([100 * s for s in shares], values, marker="o", label=name)
    axis.set_xlabel("per cent of the file")
    axis.set_ylabel("LPIPS-Alex")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
