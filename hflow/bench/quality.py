"""Rate and distortion of real files on a folder of pictures.

    python -m hflow.bench.quality FOLDER --bpp 0.012 0.03 0.06 [--metrics DIR] [--json OUT.json]

Every picture is encoded to bytes and decoded from them; bpp is 8 x bytes / pixels.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import hflow
from hflow.bench.measure import lpips, pictures, psnr, read
from hflow.container import parse


def run(folder: Path, bpps: list[float], metrics: Path | None, net: str = "alex") -> list[dict]:
    """One row per picture and target: name, target, bytes, bpp, psnr, lpips, seconds, settings."""
    distance = lpips(metrics, net)
    rows = []
    for path in pictures(folder):
        image = read(path)
        for target in bpps:
            start = time.perf_counter()
            data = hflow.encode(image, target)
            middle = time.perf_counter()
            out = np.asarray(hflow.decode(data))
            end = time.perf_counter()
            s = parse(data).settings
            rows.append(
                {
                    "name": path.name,
                    "target": target,
                    "bytes": len(data),
                    "bpp": 8 * len(data) / (image.shape[0] * image.shape[1]),
                    "psnr": psnr(image, out),
                    f"lpips_{net}": distance(image, out) if distance else None,
                    "encode_s": middle - start,
                    "decode_s": end - middle,
                    "rate": s.rate,
                    "m": s.m,
                    "mask": s.mask.label,
                }
            )
    return rows


def table(rows: list[dict], net: str = "alex") -> Table:
    """Means per target."""
    t = Table("target bpp", "files", "largest bpp", "mean bpp", "PSNR dB", f"LPIPS-{net}", "encode s", "decode s")
    for target in sorted({r["target"] for r in rows}):
        part = [r for r in rows if r["target"] == target]

        def mean(key: str, part: list[dict] = part) -> str:
            values = [r[key] for r in part]
            return "-" if None in values else f"{np.mean(values):.4f}"

        t.add_row(
            f"{target:g}", str(len(part)), f"{max(r['bpp'] for r in part):.5f}", mean("bpp"), mean("psnr"),
            mean(f"lpips_{net}"), mean("encode_s"), mean("decode_s"),
        )  # fmt: skip
    return t


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("folder", type=Path)
    ap.add_argument("--bpp", type=float, nargs="+", default=[0.012, 0.03, 0.06])
    ap.add_argument("--metrics", type=Path, help="folder with perceptual.py and the LPIPS weights")
    ap.add_argument("--net", default="alex")
    ap.add_argument("--json", type=Path)
    args = ap.parse_args()
    rows = run(args.folder, args.bpp, args.metrics, args.net)
    Console().print(table(rows, args.net))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
