"""Trained parts to a bundle folder: float networks in int8 or fp16, integer networks with the proof of their bounds.

python -m hflow.train.release --joint J.pt --latent L.pt --predictor P.pt --card CARD.json -o models/NAME
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
import zstandard
from safetensors.numpy import save as save_arrays
from torch import Tensor

from hflow import bundles
from hflow.integer.export import export
from hflow.nets.bundle import FloatNets, local_weights, restore, split
from hflow.nets.config import NetConfig
from hflow.nets.predictor import PredictorConfig, PredictorTwin
from hflow.train.joint import JointModel
from hflow.train.latent import LatentModel


def pack_floats(state: dict[str, Tensor], small: bool) -> dict[str, np.ndarray]:
    """Weight matrices and bases as int8 with a scale per row (`small`), everything else as fp16."""
    out = {}
    for name, t in state.items():
        a = t.detach().cpu().float()
        if small and a.dim() == 4 and (a.shape[1] >= 16 or a[0].numel() >= 512):
            scale = a.abs().amax((1, 2, 3)).clamp_min(1e-8) / 127
            out[name] = (a / scale[:, None, None, None]).round().to(torch.int8).numpy()
            out[f"{name}.scale"] = scale.numpy().astype(np.float32)
        else:
            out[name] = a.numpy().astype(np.float16)
    return out


def heard(latent: dict[str, np.ndarray], cfg: NetConfig) -> dict[str, np.ndarray]:
    """A rate model's integers without the columns of channels that a slice cannot know: they only meet zeros."""
    latent = dict(latent)
    for name, known in local_weights(cfg):
        taps = latent[name].reshape(len(latent[name]), 9, -1)
        latent[name] = taps[:, :, : taps.shape[2] - cfg.latent + known].reshape(len(taps), -1)
    return latent


def build(joint: dict, latent: dict, predictor: dict, small: bool) -> tuple[dict[str, np.ndarray], NetConfig, dict]:
    """Checkpoints to (arrays of the weights file, sizes, proven bounds)."""
    cfg = NetConfig.of(joint["net"])
    model = JointModel(cfg)
    trained = {k: v for k, v in joint["average"].items() if not k.startswith("critic.")}
    missing, unknown = model.load_state_dict(trained, strict=False)
    missing = [k for k in missing if not k.startswith("proxy.")]  # the float rate model is not released
    if missing or unknown:
        raise ValueError(f"the joint checkpoint does not fit the networks: {(missing + unknown)[0]}")
    hyper = LatentModel(cfg)
    hyper.load_state_dict(latent["average"])
    tokens = PredictorTwin(cfg, PredictorConfig.of(predictor.get("size", {})))
    tokens.load_state_dict(predictor["average"])
    nets = FloatNets(cfg)
    for name, part in nets.named_children():
        part.load_state_dict((hyper.analysis if name == "hyper" else getattr(model, name)).state_dict())
    state = {k: v for k, v in nets.state_dict().items() if k != "pq.counts"}
    arrays = {f"float.{k}": v for k, v in pack_floats(state, small).items()}
    bounds = {}
    for name, twin in (("latent", hyper.twin), ("predictor", tokens)):
        flat, proven = export(twin)
        flat = heard(flat, cfg) if name == "latent" else flat
        arrays |= {f"int.{name}.{k}": v for k, v in flat.items()}
        bounds[name] = {"largest": max(proven.values()), "layers": len(proven)}
    return arrays, cfg, bounds


def write(out: Path, arrays: dict[str, np.ndarray], cfg: NetConfig, about: dict) -> None:
    """Writes weights.safetensors.zst and bundle.json; checks that what was written restores."""
    restore(split(arrays, "float"))
    raw = save_arrays(arrays)
    out.mkdir(parents=True, exist_ok=True)
    (out / bundles.PACKED).write_bytes(zstandard.ZstdCompressor(level=3).compress(raw))
    about = {"name": out.name, **about, "sha256": hashlib.sha256(raw).hexdigest(), "net": vars(cfg)}
    (out / "bundle.json").write_text(json.dumps(about, indent=1) + "\n")


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    for part in ("joint", "latent", "predictor"):
        ap.add_argument(f"--{part}", required=True, type=Path)
    ap.add_argument("--card", required=True, type=Path, help="JSON with number, license, ladder and the card's facts")
    ap.add_argument("--fp16", action="store_true", help="float networks in fp16 instead of int8")
    ap.add_argument("-o", "--out", required=True, type=Path)
    args = ap.parse_args()
    parts = [
        torch.load(getattr(args, p), map_location="cpu", weights_only=True) for p in ("joint", "latent", "predictor")
    ]
    arrays, cfg, bounds = build(parts[0], parts[1], parts[2], small=not args.fp16)
    write(args.out, arrays, cfg, {**json.loads(args.card.read_text()), "bounds": bounds})


if __name__ == "__main__":
    main()
