"""Weights between checkpoints that were trained from the same start, or of which one was trained on from the other.

    python -m hflow.train.mix runs/grown/joint.pt runs/joint/last.pt --shares 0.4,0.6 -o runs/mixed.pt
    python -m hflow.train.mix runs/a/last.pt runs/b/last.pt runs/c/last.pt -o runs/mean.pt

A run that ends at a high learning rate has left its start in part for noise, and the way back is smooth: networks
between the two can be better than both (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, 3), and
so can the mean of several short runs with small batches, whose noise differs (Wortsman et al., "Model soups", ICML
2022, 3). Writes averaged weights for `init=`, without the float rate model of a joint run, which a start often lacks.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hflow.train.loop import save


def mix(checkpoints: Sequence[dict[str, Any]], shares: Sequence[float]) -> dict[str, Any]:
    """The last checkpoint with the averaged weights of all, each by its share. ValueError unless sizes match."""
    if len(shares) != len(checkpoints) or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"{len(checkpoints)} checkpoints need as many shares that add up to 1, not {list(shares)}")
    parts = [{k: v for k, v in c["average"].items() if not k.startswith("proxy.")} for c in checkpoints]
    for part in parts:
        if wrong := [k for k in parts[-1] if k not in part or part[k].shape != parts[-1][k].shape]:
            raise ValueError(f"{wrong[0]} is not the same size in all: grow the smaller checkpoints")
    average = {k: sum(s * p[k].float() for s, p in zip(shares, parts, strict=True)) for k in parts[-1]}
    return {k: checkpoints[-1][k] for k in ("net", "size") if k in checkpoints[-1]} | {"average": average}


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("checkpoints", type=Path, nargs="+")
    ap.add_argument("--shares", help="a number for each, with commas between; they add up to 1. Default: equal")
    ap.add_argument("-o", "--out", type=Path, required=True)
    args = ap.parse_args()
    n = len(args.checkpoints)
    shares = [float(s) for s in args.shares.split(",")] if args.shares else [1 / n] * n
    save(mix([torch.load(p, map_location="cpu", weights_only=True) for p in args.checkpoints], shares), args.out)


if __name__ == "__main__":
    main()
