"""Rate and distortion of real files on a folder of pictures, for hflow and for codecs in daily use, in one run.

Every picture is encoded to bytes and decoded from them; bpp is 8 x bytes / pixels. A peer gets its largest file within
hflow's target, at full and at half size, and the better of the two counts (by LPIPS where it is measured, else PSNR).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hflow
from hflow import bundles
from hflow.bench.measure import Metrics, pictures, read
from hflow.bench.peers import Fitter, Peer
from hflow.container import parse
from hflow.errors import TargetError
from hflow.nets.bundle import load

SCHEMA = 1
Row = dict[str, Any]
Save = Callable[[str, str, float, np.ndarray], None]


@dataclass(frozen=True)
class Plan:
    """What to measure: a folder, targets in bpp, peers, metrics, efforts of hflow."""

    folder: Path
    targets: list[float]
    peers: list[Peer]
    metrics: Metrics
    limit: int | None = None
    efforts: tuple[int, ...] = (0,)


def run(plan: Plan, progress: Callable[[str], None] = lambda _: None, keep: Save = lambda *_: None) -> dict[str, Any]:
    """The results as a JSON-ready dictionary (docs/bench.md describes it).

    progress: called with a line per picture and codec. keep: called with (codec, picture's name, target, decoded
    picture), and with codec "original" and target 0 for the original.
    """
    paths = pictures(plan.folder)[: plan.limit]
    model = load(bundles.default())
    rows: list[Row] = []
    for path in paths:
        image = read(path)
        keep("original", path.name, 0, image)
        for effort in plan.efforts:
            progress(f"{path.name}: {named(effort)}")
            for target in plan.targets:
                done = hflow_row(image, target, plan.metrics, effort)
                if done is not None:
                    keep(named(effort), path.name, target, done[0])
                    rows.append({"codec": named(effort), "picture": path.name, "target": target} | done[1])
        for peer in plan.peers:
            progress(f"{path.name}: {peer.name}")
            fitter = Fitter(peer, image)
            for target in plan.targets:
                found = best(fitter, int(target * image.shape[0] * image.shape[1] / 8), plan.metrics)
                if found is not None:
                    keep(peer.name, path.name, target, found[0])
                    rows.append({"codec": peer.name, "picture": path.name, "target": target} | found[1])
            smallest = min(len(fitter.file(scale, 0)) for scale in (1, 2))
            rows.append({"codec": peer.name, "picture": path.name, "target": None} | size(smallest, image))
    version = f"{hflow.__version__}, bundle {model.name} ({model.digest.hex()[:8]})"
    versions = {named(effort): version for effort in plan.efforts}
    return {
        "schema": SCHEMA,
        "set": plan.folder.resolve().name,
        "pictures": len(paths),
        "targets": plan.targets,
        "metrics": plan.metrics.names,
        "codecs": versions | {p.name: p.version for p in plan.peers},
        "rows": rows,
    }


def named(effort: int) -> str:
    """The name that hflow has in the results."""
    return f"hflow --effort {effort}" if effort else "hflow"


def size(n: int, image: np.ndarray) -> Row:
    return {"bytes": n, "bpp": 8 * n / (image.shape[0] * image.shape[1])}


def hflow_row(image: np.ndarray, target: float, metrics: Metrics, effort: int = 0) -> tuple[np.ndarray, Row] | None:
    """hflow's picture, and its bytes, bpp, metrics, seconds and settings; None where the target cannot be reached."""
    start = time.perf_counter()
    try:
        data = hflow.encode(image, target, effort=effort)
    except TargetError:
        return None
    middle = time.perf_counter()
    out = np.asarray(hflow.decode(data))
    seconds = {"encode_s": middle - start, "decode_s": time.perf_counter() - middle}
    s = parse(data).settings
    settings = {"rate": s.rate, "m": s.m, "mask": s.mask.label}
    return out, size(len(data), image) | metrics(image, out) | seconds | settings


def best(fitter: Fitter, budget: int, metrics: Metrics) -> tuple[np.ndarray, Row] | None:
    """The picture and row of a peer's better file, of full and half size, within `budget` bytes."""
    found = []
    for coded in (fitter.fit(budget, scale) for scale in (1, 2)):
        if coded is not None:
            scores = metrics(fitter.picture, coded.picture)
            row = size(len(coded.data), fitter.picture) | scores | {"scale": coded.scale, "setting": coded.setting}
            worth = -scores["lpips_alex"] if scores.get("lpips_alex") is not None else scores["psnr"]  # type: ignore[operator]
            found.append((math.inf if worth is None else worth, coded.picture, row))
    return max(found, key=lambda f: f[0])[1:] if found else None


@dataclass(frozen=True)
class Mean:
    """Means of one codec at one target over the pictures on which it reached it."""

    codec: str
    target: float
    files: int
    largest: float
    bpp: float
    scores: dict[str, float]


def average(values: list[float | None]) -> float:
    """Mean of what could be measured."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else math.nan


def means(results: dict[str, Any]) -> list[Mean]:
    """One per codec and target that was reached at all, targets ascending."""
    out = []
    for target in sorted(results["targets"]):
        for codec in results["codecs"]:
            rows = [r for r in results["rows"] if r["codec"] == codec and r["target"] == target]
            if rows:
                bpp = [r["bpp"] for r in rows]
                scores = {k: average([r[k] for r in rows]) for k in results["metrics"]}
                out.append(Mean(codec, target, len(rows), max(bpp), float(np.mean(bpp)), scores))
    return out


def floors(results: dict[str, Any]) -> dict[str, float]:
    """Mean bpp of the smallest file that each peer can make, at full or half size."""
    out: dict[str, list[float]] = {}
    for r in results["rows"]:
        if r["target"] is None:
            out.setdefault(r["codec"], []).append(r["bpp"])
    return {k: float(np.mean(v)) for k, v in out.items()}
