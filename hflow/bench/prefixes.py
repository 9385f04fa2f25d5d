"""What the beginning of a file is worth, and a truncated file against one encoded for its size.

hflow bench prefixes FOLDER --metrics DIR -o docs/results/prefixes
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

import hflow
from hflow.bench.measure import Metrics, read
from hflow.bench.quality import average
from hflow.codec.truncate import truncate
from hflow.errors import FormatError, TargetError

Scores = dict[str, float | None]
KINDS = ("beginning of the file", "truncated to the size", "encoded for the size")
Found = dict[tuple[str, float], list[Scores]]


def run(
    paths: list[Path], bpp: float, shares: list[float], metrics: Metrics, progress: Callable[[str], None]
) -> tuple[Found, int]:
    """By kind and share of the file: the scores of its beginning, of the file cut to that size, of one encoded for it.

    The latter two for every second share. Also how many beginnings did not decode.
    """
    found: Found = {}
    failed = 0
    for path in paths:
        progress(path.name)
        rgb = read(path)
        data = hflow.encode(rgb, bpp)
        for n, share in enumerate(shares):
            size = round(share * len(data))
            try:
                pictures = [hflow.decode(data[:size], partial=True)]
            except FormatError:
                failed += 1
                continue
            if n % 2:
                with suppress(TargetError):
                    pictures += [hflow.decode(f) for f in (truncate(data, size), hflow.encode(rgb, size=size))]
            for kind, picture in zip(KINDS, pictures, strict=False):
                found.setdefault((kind, share), []).append(metrics(rgb, np.asarray(picture)))
    return found, failed


def mean(scores: list[Scores], name: str) -> float:
    """Mean of what was measured; nan if nothing was."""
    return average([s.get(name) for s in scores])


def markdown(found: Found, failed: int, bpp: float, pictures: int) -> str:
    """A table of means, a row per share."""
    lines = [
        f"{pictures} pictures at {bpp:g} bpp; {failed} of the beginnings did not decode. PSNR dB / LPIPS-Alex.",
        "",
    ]
    lines += [f"| share | {' | '.join(KINDS)} | LPIPS, truncated to encoded |", "|---" * 5 + "|"]
    for share in sorted({s for _, s in found}):
        scores = [found.get((k, share), []) for k in KINDS]
        cells = [f"{mean(s, 'psnr'):.2f} / {mean(s, 'lpips_alex'):.3f}" if s else "" for s in scores]
        cut, direct = (mean(s, "lpips_alex") for s in scores[1:])
        cells.append(f"{cut / direct:.2f}" if scores[1] else "")
        lines.append(f"| {100 * share:.0f} % | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(found: Found, path: Path) -> None:
    """LPIPS-Alex against the share of the file that is there."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(5.5, 3.8))
    for kind in KINDS:
        shares = sorted(s for k, s in found if k == kind)
        axis.plot([100 * s for s in shares], [mean(found[kind, s], "lpips_alex") for s in shares], "o-", label=kind)
    axis.set_xlabel("per cent of the file")
    axis.set_ylabel("LPIPS-Alex")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
