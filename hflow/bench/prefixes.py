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
DIRECT = "encoded for the size"
KINDS = ("beginning", "truncated", "progressive, beginning", "progressive, truncated", DIRECT)
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

        def note(kind: str, share: float, data: bytes, partial: bool = False, rgb: np.ndarray = rgb) -> None:
            picture = np.asarray(hflow.decode(data, partial=partial))
            found.setdefault((kind, share), []).append(metrics(rgb, picture))

        for prefix, progressive in (("", False), ("progressive, ", True)):
            data = hflow.encode(rgb, bpp, progressive=progressive)
            for n, share in enumerate(shares):
                size = round(share * len(data))
                try:
                    note(f"{prefix}beginning", share, data[:size], partial=True)
                except FormatError:
                    failed += 1
                    continue
                if n % 2:
                    with suppress(TargetError):
                        note(f"{prefix}truncated", share, truncate(data, size))
        for share in shares[1::2]:
            with suppress(TargetError):
                note(DIRECT, share, hflow.encode(rgb, size=round(share * int(bpp * rgb.shape[0] * rgb.shape[1] / 8))))
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
    ratios = ("truncated to encoded", "progressive to encoded")
    lines += [f"| share | {' | '.join(KINDS)} | {' | '.join(f'LPIPS, {r}' for r in ratios)} |", "|---" * 8 + "|"]
    for share in sorted({s for _, s in found}):
        scores = {k: found.get((k, share), []) for k in KINDS}
        cells = [f"{mean(s, 'psnr'):.2f} / {mean(s, 'lpips_alex'):.3f}" if s else "" for s in scores.values()]
        for kind in KINDS[1], KINDS[3]:
            both = [mean(scores[k], "lpips_alex") for k in (kind, DIRECT) if scores[k]]
            cells.append(f"{both[0] / both[1]:.2f}" if len(both) == 2 else "")
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
