"""What effort buys: pictures refined at one size, looked at after the steps of each effort.

hflow bench effort FOLDER --metrics DIR
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hflow import bundles
from hflow.bench.measure import Metrics, read
from hflow.bench.quality import average
from hflow.codec import pixels
from hflow.codec.encode import pack
from hflow.codec.geometry import Geometry
from hflow.codec.rate import Choice, Coder, choose
from hflow.codec.refine import STEPS, TUNES, Search, refinable
from hflow.nets.bundle import load

Row = tuple[float, float, float, float]  # seconds, bpp, PSNR, LPIPS-Alex
Found = dict[tuple[float, int], list[Row]]


def run(
    paths: list[Path], bpps: list[float], efforts: list[int], tune: str, metrics: Metrics,
    progress: Callable[[str], None],
) -> Found:  # fmt: skip
    """By target and effort, a row for every picture that can be refined.

    A higher effort begins with the steps of a lower one, so one search shows all of them.
    """
    model = load(bundles.default())
    found: Found = {}
    for path in paths:
        rgb = read(path)
        geo = Geometry(rgb.shape[1], rgb.shape[0])
        area = geo.width * geo.height

        def row(choice: Choice, seconds: float, rgb: np.ndarray = rgb, geo: Geometry = geo) -> Row:
            scores = metrics(rgb, pixels.synthesize(model, geo, choice.level, choice.y, choice.tokens, choice.sent))
            psnr, lpips = (average([scores.get(k)]) for k in ("psnr", "lpips_alex"))
            return seconds, 8 * len(pack(model, geo, choice)) / geo.width / geo.height, psnr, lpips

        for bpp in bpps:
            progress(f"{path.name} at {bpp:g} bpp")
            budget = int(bpp * area / 8)
            start = time.perf_counter()
            coder = Coder(model, geo, pixels.trunk(model, rgb))
            choice = choose(coder, budget)
            spent = time.perf_counter() - start
            if not refinable(choice, budget):
                continue
            search = None
            for effort in efforts:
                start = time.perf_counter()
                if effort:
                    search = search or Search(model, geo, rgb, coder.found, choice, budget, TUNES[tune])
                while search is not None and search.steps < STEPS[effort]:
                    search.step()
                spent += time.perf_counter() - start
                found.setdefault((bpp, effort), []).append(row(search.best if search else choice, spent))
    return found


def markdown(found: Found, pictures: int, area: float, tune: str) -> str:
    """A table of means. area: megapixels of a picture, the mean."""
    lines = [f"{pictures} pictures, bundle {load(bundles.default()).name}, tune {tune}; real files.", ""]
    lines += [
        "| target | effort | s per MP | bpp | LPIPS-Alex | PSNR dB | LPIPS against effort 0 | pictures worse in both |"
    ]
    lines += ["|---" * 8 + "|"]
    for bpp, effort in sorted(found):
        rows = np.array(found[bpp, effort])
        seconds, rate, psnr, lpips = rows.mean(0)
        line = f"| {bpp:g} | {effort} | {seconds / area:.1f} | {rate:.4f} | {lpips:.3f} | {psnr:.2f} |"
        base = np.array(found.get((bpp, 0), rows))
        worse = int(((rows[:, 2] < base[:, 2]) & (rows[:, 3] > base[:, 3])).sum())
        lines.append(f"{line} {100 * (lpips / base[:, 3].mean() - 1):+.1f} % | {worse} |")
    return "\n".join(lines) + "\n"
