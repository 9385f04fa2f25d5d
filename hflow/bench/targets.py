"""How well targets are met: real files of every picture at every target.

hflow bench targets FOLDER --bpp 0.01,0.03 --bytes 246,1000
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hflow import bundles
from hflow.bench.measure import read
from hflow.codec import pixels
from hflow.codec.encode import pack
from hflow.codec.geometry import RATE_ONE, Geometry
from hflow.codec.rate import FULL, Coder, at_quality, choose
from hflow.errors import TargetError
from hflow.nets.bundle import load


def report(
    paths: list[Path], bpps: list[float], sizes: list[int], progress: Callable[[str], None] = lambda _: None
) -> str:
    """A Markdown table with a row per target.

    Shortfall: share of the bound that is left unused. Time: of an encode with the target against one of the same rate
    level without, both after the model has been loaded.
    """
    model = load(bundles.default())
    found: dict[str, list[tuple[float, float]]] = {}
    for path in paths:
        progress(path.name)
        rgb = read(path)
        geo = Geometry(rgb.shape[1], rgb.shape[0])
        area = geo.width * geo.height
        targets = [(f"{b:g} bpp", int(b * area / 8)) for b in bpps] + [(f"{n} bytes", n) for n in sizes]
        for name, budget in targets:
            found.setdefault(name, [])
            start = time.perf_counter()
            try:
                choice = choose(Coder(model, geo, pixels.trunk(model, rgb)), budget)
            except TargetError:
                continue
            seconds = time.perf_counter() - start
            size = len(pack(model, geo, choice))
            start = time.perf_counter()
            at_quality(Coder(model, geo, pixels.trunk(model, rgb)), FULL * min(1.0, (choice.level or 0) / RATE_ONE))
            plain = time.perf_counter() - start
            found[name].append((size / budget, seconds / plain))
    lines = [
        f"{len(paths)} pictures, bundle {model.name}; real files, everything counted.",
        "",
        "| target | files | over | mean shortfall | largest | time, target / without |",
        "|---|---|---|---|---|---|",
    ]
    for name, rows in found.items():
        if rows:
            used, ratio = np.array(rows).T
            lines.append(
                f"| {name} | {len(rows)} | {(used > 1).sum()} | {100 * (1 - used).mean():.2f} % "
                f"| {100 * (1 - used).max():.2f} % | {np.median(ratio):.2f} |"
            )
    return "\n".join(lines) + "\n"
