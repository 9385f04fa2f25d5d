"""A smaller network's checkpoints as the start of a larger one: what fits is copied, what is new adds nothing at first.

    python -m hflow.train.grow runs/hf2 -o runs/grown latent=320 fine=48 slices=[16,16,32,64,64,128]

Reads joint.pt, latent.pt and predictor.pt (`hflow.train.unpack` writes them) and writes them with the sizes given.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import torch
from torch import Tensor, nn

from hflow.integer.twin import QLinear
from hflow.nets.blocks import ResBlock
from hflow.nets.config import NetConfig
from hflow.nets.predictor import PredictorConfig, PredictorTwin
from hflow.train.joint import JointModel
from hflow.train.latent import LatentModel
from hflow.train.loop import save

Weights = dict[str, Tensor]


def fit(old: Tensor, new: Tensor) -> Tensor:
    """`old` in the leading corner of `new`'s shape, the rest zero: further inputs are not heard."""
    out = torch.zeros_like(new)
    out[tuple(slice(n) for n in old.shape)] = old
    return out


def grow(old: Weights, model: nn.Module) -> Weights:
    """Weights of `model`: copied where names match; new residual blocks are the identity, the rest as it starts."""
    state = model.state_dict()
    for name, part in model.named_modules():
        if isinstance(part, ResBlock) and f"{name}.a.weight" not in old:
            state[f"{name}.b.weight"].zero_()
            state[f"{name}.b.bias"].zero_()
    convolutions = {f"{n}.w" for n, part in model.named_modules() if isinstance(part, QLinear)}
    for name, new in state.items():
        if name not in old:
            continue
        known = old[name]
        if known.shape == new.shape:
            state[name] = known
        elif name in convolutions and new.shape[1] % 9 == 0:  # nine taps, inputs within each
            state[name] = fit(known.view(len(known), 9, -1), new.view(len(new), 9, -1)).view(new.shape)
        else:
            state[name] = fit(known, new)
    return state


def new_gains(old: Tensor, channels: int) -> Tensor:
    """Log gains (rates, channels): further channels as the last old ones, which are the finest."""
    last = old[:, -8:].mean(1, keepdim=True)
    return torch.cat([old, last.expand(-1, channels - old.shape[1])], 1)


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("folder", type=Path)
    ap.add_argument("sizes", nargs="+", help="key=value of the network's configuration")
    ap.add_argument("-o", "--out", type=Path, required=True)
    args = ap.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    for part in ("joint", "latent", "predictor"):
        state = torch.load(args.folder / f"{part}.pt", weights_only=True)
        net = {**state["net"], **tomllib.loads("\n".join(args.sizes))}
        cfg = NetConfig.of(net)
        model: nn.Module
        if part == "joint":
            model = JointModel(cfg)
        elif part == "latent":
            model = LatentModel(cfg)
        else:
            model = PredictorTwin(cfg, PredictorConfig.of(state["size"]))
        old = state["average"]
        if part == "joint":
            old["gain.log_gain"] = new_gains(old["gain.log_gain"], cfg.latent)
        save({**state, "net": net, "average": grow(old, model)}, args.out / f"{part}.pt")


if __name__ == "__main__":
    main()
