"""Peak memory and time of every operation by the picture's shape, each in a process of its own under a memory limit.

What is to be seen is a constant plus so much a pixel, whatever the shape: a strip costs what the cells cost that it
crosses. The first shape is the constant: Python, torch and the bundle.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hflow.errors import InputError

SHAPES = ((64, 64), (1024, 1024), (1, 65535), (65535, 1), (40000, 16), (16, 40000), (3, 30000))
OPERATIONS = ("encode", "decode", "truncate", "map", "salvage", "effort", "pillow")
DECLARED = "declared"  # decoding of a file that names a size, behind which are zeros
RATE = 0.05  # bits per pixel of the cells: enough for some tokens
MASK = "1_4"
CHILD = "from hflow.bench.shapes import child; child()"

Row = dict[str, Any]


def shape(text: str) -> tuple[int, int]:
    """Width and height of `WxH`; InputError for something else."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None:
        raise InputError(f"{text!r} is not a shape such as 40000x16")
    return int(found[1]), int(found[2])


def known(operations: Sequence[str] | None) -> tuple[str, ...]:
    """Operations by name, all for None; InputError for one that there is not."""
    if unknown := set(operations or ()) - {*OPERATIONS, DECLARED}:
        raise InputError(f"{min(unknown)!r} is not one of {', '.join((*OPERATIONS, DECLARED))}")
    return tuple(operations) if operations else OPERATIONS


def run(
    shapes: Sequence[tuple[int, int]], operations: tuple[str, ...], limit_mb: int, tell: Callable[[str], None]
) -> list[Row]:
    """A row for each shape (width, height) and operation: `mb` and `seconds`, or the `error` that ended it.

    limit_mb: memory, beyond what is mapped from files, that a process may take.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for width, height in shapes:
            path = Path(folder, f"{width}x{height}.hfc")
            kinds = ["make", *operations] if operations != (DECLARED,) else operations
            for operation in kinds:
                tell(f"{width}x{height} {operation}")
                row = _alone(operation, width, height, path, limit_mb)
                if operation != "make":
                    rows.append({"width": width, "height": height, "operation": operation, **row})
    return rows


def _alone(operation: str, width: int, height: int, path: Path, limit_mb: int) -> Row:
    words = [sys.executable, "-c", CHILD, operation, str(width), str(height), str(path), str(limit_mb)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1]}
    found: Row = json.loads(done.stdout)
    return found


def child() -> None:
    """Do the operation that the process's arguments name, and print what it took."""
    operation, width, height, path, limit_mb = sys.argv[1:]
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (int(limit_mb) << 20,) * 2)
    except (ImportError, ValueError, OSError):
        pass  # no such limit here; the peak is measured all the same
    work = _work(operation, int(width), int(height), Path(path))
    start = time.perf_counter()
    work()
    print(json.dumps({"mb": _peak_mb(), "seconds": round(time.perf_counter() - start, 2)}))


def _work(operation: str, width: int, height: int, path: Path) -> Callable[[], Any]:
    """The operation, with what is not measured loaded: torch, the bundle and the input."""
    from PIL import Image

    import hflow
    from hflow import pillow
    from hflow.codec import salvage, spending, truncate
    from hflow.codec.geometry import Geometry
    from hflow.container import Container, Kind, MaskSchedule, Profile, Section, Settings, serialize

    warm = hflow.encode(Image.new("RGB", (32, 32)), bpp=1)
    hflow.decode(warm)
    size = int(RATE * Geometry(width, height).area / 8) + 64
    if operation in ("make", "encode", "effort"):
        image = Image.effect_noise((width, height), 60).convert("RGB")
        if operation == "make":
            return lambda: path.write_bytes(hflow.encode(image, size=size, masking=MASK))
        return lambda: hflow.encode(image, size=size, masking=MASK, effort=int(operation == "effort"))
    if operation == DECLARED:
        about = hflow.container.parse(warm)
        settings = Settings(rate=40, m=1, mask=MaskSchedule.NONE, profile=Profile.HYBRID)
        sections = (Section(Kind.CONTINUOUS, bytes(size)),)  # cut short, so that nothing has to be right
        file = serialize(Container(width, height, about.bundle, about.fingerprint, settings, 0, False, sections))
        return lambda: hflow.decode(file[:-8], partial=True)
    data = path.read_bytes()
    damaged = data[:-20] + bytes([data[-20] ^ 255, data[-19] ^ 255]) + data[-18:]
    return {
        "decode": lambda: hflow.decode(data),
        "truncate": lambda: truncate.truncate(data, len(data) // 2),
        "map": lambda: spending.paint(spending.spending(data)),
        "salvage": lambda: salvage.salvage(damaged),
        "pillow": lambda: Image.open(path, formats=[pillow.FORMAT]).load(),
    }[operation]


def _peak_mb() -> int:
    """Megabytes that this process held at most; where the system does not tell of it alone, what it tells."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        unit = 1024 if sys.platform == "darwin" else 1
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
    return round(kilobytes * 1024 / 1e6)


def markdown(rows: Sequence[Row], limit_mb: int) -> str:
    """A table with a line for each shape, and a column for each operation."""
    operations = list(dict.fromkeys(row["operation"] for row in rows))
    lines = [f"| MB at most, seconds | {' | '.join(operations)} |", "|---" * (1 + len(operations)) + "|"]
    for shape in dict.fromkeys((row["width"], row["height"]) for row in rows):
        cells = {r["operation"]: _cell(r, limit_mb) for r in rows if (r["width"], r["height"]) == shape}
        lines.append(f"| {shape[0]} x {shape[1]} | {' | '.join(cells.get(name, '') for name in operations)} |")
    return "\n".join(lines) + "\n"


def _cell(row: Row, limit_mb: int) -> str:
    if "error" not in row:
        return f"{row['mb']:,}, {row['seconds']:.1f} s"
    memory = any(word in row["error"].lower() for word in ("memory", "allocate"))
    return f"more than {limit_mb:,}" if memory else row["error"][:40]
