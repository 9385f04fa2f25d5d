"""What effort buys: pictures refined at one size, by each effort.

hflow bench effort FOLDER --metrics DIR
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hflow import bundles
from hflow.bench.measure import Metrics, read
from hflow.bench.quality import average
from hflow.codec import pixels
from hflow.codec.encode import pack
from hflow.codec.geometry import Geometry
from hflow.codec.rate import Choice, Coder, choose
from hflow.codec.refine import STEPS, TUNES, refinable, refine
from hflow.errors import InputError
from hflow.nets.bundle import load
from hflow.output import save_atomic

Row = tuple[float, float, float, float]  # seconds, bpp, PSNR, LPIPS-Alex
Found = dict[tuple[str, float], dict[int, Row]]  # by picture and target; empty where nothing can be refined


class Kept:
    """What has been measured, in a file, so that a run goes on where one before it ended. None: in no file."""

    def __init__(self, path: Path | None, efforts: list[int], tune: str) -> None:
        """InputError for a file that is something else, or was measured otherwise."""
        self.path, self.found = path, Found()
        steps = [STEPS[e] for e in efforts]
        self.about = {"bundle": load(bundles.default()).name, "tune": tune, "efforts": efforts, "steps": steps}
        if path is None or not os.path.exists(path):
            return
        try:
            kept: dict[str, Any] = json.loads(path.read_text())
            rows = [(r["picture"], r["target"], r["efforts"]) for r in kept.pop("rows")]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: not the measurements of a run before") from error
        if kept != self.about:
            raise InputError(f"{path}: measured otherwise: {', '.join(f'{k} {v}' for k, v in kept.items())}")
        self.found = {(name, bpp): {int(e): tuple(row) for e, row in rows.items()} for name, bpp, rows in rows}

    def add(self, name: str, bpp: float, rows: dict[int, Row]) -> None:
        self.found[name, bpp] = rows
        if self.path:
            listed = [{"picture": n, "target": t, "efforts": r} for (n, t), r in self.found.items()]
            save_atomic(self.path, json.dumps(self.about | {"rows": listed}, indent=0).encode(), force=True)


def run(
    paths: list[Path], bpps: list[float], efforts: list[int], tune: str, metrics: Metrics,
    progress: Callable[[str], None], resume: Path | None = None,
) -> Found:  # fmt: skip
    """By picture and target, a row for every effort. resume: a file that keeps what was measured before this run."""
    model, kept = load(bundles.default()), Kept(resume, efforts, tune)
    for path in paths:
        missing = [bpp for bpp in bpps if (path.name, bpp) not in kept.found]
        if not missing:
            continue
        rgb = read(path)
        geo = Geometry(rgb.shape[1], rgb.shape[0])
        area = geo.width * geo.height

        def row(choice: Choice, seconds: float, rgb: np.ndarray = rgb, geo: Geometry = geo) -> Row:
            scores = metrics(rgb, pixels.synthesize(model, geo, choice.level, choice.y, choice.tokens, choice.sent))
            psnr, lpips = (average([scores.get(k)]) for k in ("psnr", "lpips_alex"))
            return seconds, 8 * len(pack(model, geo, choice)) / geo.width / geo.height, psnr, lpips

        for bpp in missing:
            progress(f"{path.name} at {bpp:g} bpp")
            budget = int(bpp * area / 8)
            start = time.perf_counter()
            coder = Coder(model, geo, pixels.trunk(model, rgb))
            choice = choose(coder, budget)
            spent = time.perf_counter() - start
            rows: dict[int, Row] = {}
            for effort in efforts if refinable(choice, budget) else []:
                start = time.perf_counter()
                found = refine(model, geo, rgb, coder.found, choice, budget, STEPS[effort], TUNES[tune])
                rows[effort] = row(found, spent + time.perf_counter() - start)
            kept.add(path.name, bpp, rows)
    wanted = {path.name for path in paths}
    return {(name, bpp): rows for (name, bpp), rows in kept.found.items() if name in wanted and bpp in bpps}


def markdown(found: Found, area: float, tune: str) -> str:
    """A table of means. area: megapixels of a picture, the mean."""
    columns = ["target", "pictures", "effort", "s per MP", "bpp", "LPIPS-Alex", "PSNR dB"]
    columns += ["LPIPS against effort 0", "PSNR against effort 0", "pictures worse in both"]
    lines = [f"Bundle {load(bundles.default()).name}, tune {tune}; real files.", ""]
    lines += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for bpp in sorted({bpp for _, bpp in found}):
        pictures = [rows for (_, target), rows in found.items() if target == bpp and rows]
        for effort in sorted({e for rows in pictures for e in rows}):
            rows = np.array([r[effort] for r in pictures])
            base = np.array([r.get(0, r[effort]) for r in pictures])
            seconds, rate, psnr, lpips = rows.mean(0)
            worse = int(((rows[:, 2] < base[:, 2]) & (rows[:, 3] > base[:, 3])).sum())
            lines.append(
                f"| {bpp:g} | {len(rows)} | {effort} | {seconds / area:.1f} | {rate:.4f} | {lpips:.3f} | {psnr:.2f} | "
                f"{100 * (lpips / base[:, 3].mean() - 1):+.1f} % | {(rows[:, 2] - base[:, 2]).mean():+.2f} | {worse} |"
            )
    return "\n".join(lines) + "\n"
