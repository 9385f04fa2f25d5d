"""A smaller network's checkpoints as the start of a larger one: what fits is copied, what is new adds nothing at first.

    python -m hflow.train.grow runs/hf2 -o runs/grown latent=320 fine=48 slices=[16,16,32,64,64,128]
    python -m hflow.train.grow runs/hf13 -o runs/grown passes=[4,4,2,2,2,2] scales=48

Reads joint.pt, latent.pt and predictor.pt (`hflow.train.unpack` writes them) and writes them with the sizes given.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import numpy as np
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


NEAREST = [1, 3, 5, 7]  # of nine taps: what the second pass of a checkerboard knows, and the last two of four


def layers_of_their_own(state: Weights, cfg: NetConfig) -> None:
    """What `local` said of its own slice, of a rate model from before there were layers `own`, becomes theirs.

    The second of four passes knows only cells that `local` never saw, so it hears nothing at first.
    """
    for s, (known, passes) in enumerate(zip(np.cumsum(cfg.slices), cfg.passes, strict=True)):
        local = state[f"twin.slices.{s}.local.w"]
        taps = local.view(len(local), 9, -1)[..., -cfg.latent :]
        heard = torch.zeros_like(taps[..., known - cfg.slices[s] : known])
        heard[:, NEAREST] = taps[:, NEAREST, known - cfg.slices[s] : known]
        for k in range(passes - 1):
            own = torch.zeros_like(heard) if passes == 4 and k == 0 else heard
            state[f"twin.slices.{s}.own.{k}.w"] = own.reshape(len(local), -1)


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
        new = grow(old, model)
        if part == "latent" and cfg.passes and not NetConfig.of(state["net"]).passes:
            layers_of_their_own(new, cfg)
        save({**state, "net": net, "average": new}, args.out / f"{part}.pt")


if __name__ == "__main__":
    main()
