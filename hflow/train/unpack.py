"""A released bundle back to checkpoints that recipes start from, so that training goes on from what was released.

    python -m hflow.train.unpack models/hf19 -o runs/hf19

Writes joint.pt, latent.pt and predictor.pt for `init=`; what a bundle does not hold (the rate model) starts fresh.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load as load_arrays
from torch import Tensor, nn

from hflow import bundles
from hflow.integer.twin import QLinear, QTable
from hflow.nets.bundle import predictor_size, restore, split, widened
from hflow.nets.config import NetConfig
from hflow.nets.continuous import LatentTwin
from hflow.nets.predictor import PredictorTwin
from hflow.train.loop import save


def floats(arrays: dict[str, np.ndarray], twin: nn.Module) -> dict[str, Tensor]:
    """Exported integers as the twin's float parameters; exporting those gives the same integers."""
    out = {}
    for name, part in twin.named_modules():
        if isinstance(part, QLinear):
            out[f"{name}.w"] = torch.from_numpy(arrays[f"{name}.weight"].astype(np.float32)) / 2.0**part.w_bits
            out[f"{name}.b"] = torch.from_numpy(arrays[f"{name}.bias"].astype(np.float32)) / 2.0**part.acc_bits
        elif isinstance(part, QTable):
            out[f"{name}.t"] = torch.from_numpy(arrays[f"{name}.rows"].astype(np.float32)) / 2.0**part.bits
    return out


def unpack(folder: Path) -> dict[str, dict]:
    """Checkpoints by recipe: joint, latent, predictor."""
    arrays = load_arrays(bundles.weights(folder))
    net = json.loads((folder / "bundle.json").read_text())["net"]
    cfg = NetConfig.of(net)
    state = restore(split(arrays, "float"))
    state["pq.counts"] = torch.ones(cfg.m_max, cfg.codewords)
    tokens = split(arrays, "int.predictor")
    size = predictor_size(tokens)
    integers = widened(split(arrays, "int.latent"), cfg)
    latent = {f"twin.{k}": v for k, v in floats(integers, LatentTwin(cfg)).items()}
    latent |= {k.replace("hyper.", "analysis.", 1): v for k, v in state.items() if k.startswith("hyper.")}
    joint = {k: v for k, v in state.items() if not k.startswith("hyper.")}
    return {
        "joint": {"average": joint, "net": net},
        "latent": {"average": latent, "net": net},
        "predictor": {"average": floats(tokens, PredictorTwin(cfg, size)), "net": net, "size": vars(size)},
    }


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("bundle", type=Path)
    ap.add_argument("-o", "--out", type=Path, required=True)
    args = ap.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, state in unpack(args.bundle).items():
        save(state, args.out / f"{name}.pt")


if __name__ == "__main__":
    main()
