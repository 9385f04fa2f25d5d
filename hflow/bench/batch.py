"""A batch against the two ways in which one would do without: a loop over `hflow.encode`, and a process per picture.

Each way starts fresh processes, reads the same image files and writes the same .hfc files. Images per second, of the
wall clock with everything from process start on, and CPU seconds per image; what travels from machine to machine is
the ratios of one run.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hflow.errors import HflowError

LOOP = """
import sys
from pathlib import Path
import hflow
from hflow.images import load
from hflow.output import save_atomic
bpp, out, *paths = sys.argv[1:]
for n, path in enumerate(paths):
    save_atomic(Path(out, f"{n}.hfc"), hflow.encode(load(path)[0], float(bpp)))
"""


def run(paths: Sequence[Path], bpp: float, few: int, jobs: int | None) -> dict[str, Any]:
    """Images per second and CPU seconds per image of each way, and whether the files are the same; JSON-ready.

    paths: images with different names. few: how many of them the process per picture does. jobs: of the batch.
    """
    hflow = [sys.executable, "-m", "hflow", "encode", "--quiet", "--bpp", f"{bpp!r}"]
    at_once = [] if jobs is None else ["--jobs", str(jobs)]
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        for place in ("inputs", "batch", "loop", "each"):
            (top / place).mkdir()
        inputs = [top / "inputs" / f"{n}{path.suffix}" for n, path in enumerate(paths)]
        for link, path in zip(inputs, paths, strict=True):
            link.symlink_to(path.resolve())
        words = [str(path) for path in inputs]
        found = {
            "batch": _timed([[*hflow, str(top / "inputs"), "-o", str(top / "batch"), *at_once]], len(paths)),
            "loop": _timed([[sys.executable, "-c", LOOP, f"{bpp!r}", str(top / "loop"), *words]], len(paths)),
            "process per image": _timed([[*hflow, w, "-o", str(top / "each/")] for w in words[:few]], few),
        }
        files = {
            place: {f.name: f.read_bytes() for f in (top / place).iterdir()} for place in ("batch", "loop", "each")
        }
    batch, loop, each = (way["images_per_s"] for way in found.values())
    return {
        "images": len(paths),
        "images_each_in_a_process": few,
        "bpp": bpp,
        "ways": found,
        "batch_to_loop": batch / loop,
        "batch_to_process_per_image": batch / each,
        "loop_to_process_per_image": loop / each,
        "same_files": files["batch"] == files["loop"] == files["batch"] | files["each"],
    }


def _timed(commands: Sequence[Sequence[str]], images: int) -> dict[str, float]:
    """Run the commands one after another; HflowError with what the first that fails says."""
    began, used = time.perf_counter(), _cpu()
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise HflowError(f"a process failed: {done.stderr.strip().splitlines()[-1:]}")
    return {"images_per_s": images / (time.perf_counter() - began), "cpu_s_per_image": (_cpu() - used) / images}


def _cpu() -> float:
    """CPU seconds of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
