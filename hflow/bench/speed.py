"""Seconds per stage of a warm process on one picture, the start of a cold one, and the ratio to AVIF in the same run.

Timings of one machine say little about another; the ratio travels better. AVIF is coded at the quality that comes
nearest hflow's target from above (its floor where it has none that small), by `avifenc` and `avifdec` where they are on
the path (a new process each, as they are used), else by Pillow's libavif.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from hflow import bundles
from hflow.codec import latents, pixels, tokens
from hflow.codec.checksum import index_checksum
from hflow.codec.encode import pack
from hflow.codec.geometry import Geometry
from hflow.codec.rate import Coder, choose
from hflow.container import parse
from hflow.nets.bundle import Model, load, pick_device
from hflow.nets.grids import sent_grid

Times = dict[str, float]


class Watch:
    """Seconds by stage, in the order in which the stages first ran."""

    def __init__(self, model: Model) -> None:
        self.model, self.times = model, Times()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.model.device.type == "cuda":
            torch.cuda.synchronize()
        self.times[stage] = self.times.get(stage, 0.0) + time.perf_counter() - start


def encode(model: Model, rgb: np.ndarray, bpp: float) -> tuple[bytes, Times]:
    """The encoder's stages (hflow/codec/encode.py), each timed."""
    watch, geo = Watch(model), Geometry(rgb.shape[1], rgb.shape[0])
    with watch("analysis"):
        coder = Coder(model, geo, pixels.trunk(model, rgb))
    with watch("rate search and entropy coding"):
        choice = choose(coder, int(bpp * geo.width * geo.height / 8))
    with watch("container"):
        data = pack(model, geo, choice)
    return data, watch.times


def decode(model: Model, data: bytes) -> Times:
    """The decoder's stages (hflow/codec/decode.py), each timed."""
    watch = Watch(model)
    with watch("container"):
        file = parse(data)
    geo, s = Geometry(file.width, file.height), file.settings
    level, y, q, sent = (s.rate - 1 if s.rate else None), None, None, None
    with watch("continuous stream"):
        if level is not None:
            y = latents.read(model, geo, level, file.continuous or b"")
    with watch("tokens and fill-in"):
        if s.m:
            sent = sent_grid(geo.th, geo.tw, s.mask.label)
            q = tokens.read(model, geo, level, y, s.m, sent, file.index_chunks)
    with watch("checksum"):
        index_checksum(model.digest, y, q)
    with watch("fusion decoder"), torch.inference_mode():
        planes = pixels.token_planes(model, geo, q, sent)
    if y is not None and model.nets.feedback is not None:
        with watch("first look, analysis, feedback"):
            y = pixels.looked(model, geo, level or 0, y, planes)
    with watch("fusion decoder"):
        pixels.synthesize_cells(model, geo, level, y, planes)
    return watch.times


def medians(runs: list[Times]) -> Times:
    return {k: median(r[k] for r in runs) for k in runs[0]}


def timed(work: Callable[[], Any], repeats: int) -> float:
    """Median seconds of some work."""
    out = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        out.append(time.perf_counter() - start)
    return median(out)


def avif(rgb: np.ndarray, budget: int, repeats: int) -> dict[str, Any]:
    """Seconds that AVIF takes to encode and decode the picture at about `budget` bytes."""
    image = Image.fromarray(rgb)

    def save(quality: int) -> bytes:
        out = io.BytesIO()
        image.save(out, format="AVIF", quality=quality)
        return out.getvalue()

    quality = next((q for q in range(0, 60, 5) if len(save(q + 5)) > budget), 0)
    data = save(quality)
    tools = [shutil.which(k) for k in ("avifenc", "avifdec")]
    if None in tools:
        enc = timed(lambda: save(quality), repeats)
        dec = timed(lambda: Image.open(io.BytesIO(data)).load(), repeats)
        return {"with": "libavif in Pillow", "bytes": len(data), "encode_s": enc, "decode_s": dec}
    with tempfile.TemporaryDirectory() as folder:
        png, out, back = (str(Path(folder) / k) for k in ("in.png", "out.avif", "back.png"))
        image.save(png)
        Path(out).write_bytes(data)

        def call(*command: str | None) -> None:
            subprocess.run([str(c) for c in command], check=True, capture_output=True)

        dec = timed(lambda: call(tools[1], out, back), repeats)
        # avifenc 0.x has no --qcolor: its quantizers run from 0 (best) to 63.
        q = str(round(63 * (1 - quality / 100)))
        enc = timed(lambda: call(tools[0], "--min", q, "--max", q, png, out), repeats)
        return {"with": "avifenc, avifdec", "bytes": len(data), "encode_s": enc, "decode_s": dec}


# What a new process does before its first picture is decoded; the first argument is when it was started.
FIRST = """
import sys, time
times = [float(sys.argv[1]), time.time()]
import torch
times.append(time.time())
from hflow.codec.decode import decode
from hflow.container import parse
from hflow.nets.bundle import for_file, pick_device
times.append(time.time())
data, device = open(sys.argv[2], "rb").read(), pick_device(sys.argv[3])
file = parse(data)
for_file(file.bundle, file.fingerprint, device)
times.append(time.time())
decode(data, device=device)
times.append(time.time())
print(*(b - a for a, b in zip(times, times[1:])))
"""
COLD = ("Python", "import of torch", "import of hflow", "bundle", "first picture")


def cold(data: bytes, device: str, repeats: int) -> Times:
    """Seconds of each part from the start of a process to its first decoded picture, the medians of some processes."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.hfc"
        file.write_bytes(data)
        for _ in range(repeats):
            command = [sys.executable, "-c", FIRST, repr(time.time()), str(file), device]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            runs.append(dict(zip(COLD, map(float, done.stdout.split()), strict=True)))
    return medians(runs)


def run(rgb: np.ndarray, bpp: float, device: str = "auto", repeats: int = 5) -> dict[str, Any]:
    """Machine, medians of each stage in seconds, warm and from a cold start, and AVIF's times, JSON-ready.

    cold_to_torch: how much longer a new process takes to its first picture than one that only imports torch.
    """
    model = load(bundles.default(), pick_device(device))
    data, _ = encode(model, rgb, bpp)
    decode(model, data)  # warm
    enc = medians([encode(model, rgb, bpp)[1] for _ in range(repeats)])
    dec = medians([decode(model, data) for _ in range(repeats)])
    first = cold(data, model.device.type, repeats)
    return {
        "bundle": model.name,
        "device": torch.cuda.get_device_name() if model.device.type == "cuda" else "cpu",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "size": [rgb.shape[1], rgb.shape[0]],
        "bpp": 8 * len(data) / (rgb.shape[0] * rgb.shape[1]),
        "encode_s": enc,
        "decode_s": dec,
        "cold_s": first,
        "cold_to_torch": sum(first.values()) / (first["Python"] + first["import of torch"]),
        "avif": avif(rgb, len(data), repeats),
    }
