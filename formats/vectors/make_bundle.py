"""The bundles of the conformance files: small random networks. Made once; the files depend on every bit of them.

python formats/vectors/make_bundle.py 255|253 FOLDER
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from hflow.integer.export import export
from hflow.nets.bundle import FloatNets
from hflow.nets.config import NetConfig
from hflow.nets.continuous import LatentTwin
from hflow.nets.predictor import PredictorConfig, PredictorTwin
from hflow.train.release import heard, pack_floats, write

CONFIG = NetConfig(
    widths=(8, 8, 16, 16), enc_blocks=(1, 1, 1), dec_blocks=(1, 1, 1), corr_blocks=(1, 1), latent=7, fine=1,
    slices=(2, 5), hyper=3, rates=3, m_max=4, codewords=256, dims=4,
)  # fmt: skip
CONFIGS = {255: CONFIG, 253: replace(CONFIG, slices=(2, 3, 2), passes=(4, 1, 2), scales=48)}
HIDDEN, WIDE = 24, 20
SIZE = PredictorConfig(width=24, heads=2, blocks=3, hidden=36)
ABOUT = {"license": "CC0-1.0", "ladder": [{"bpp": 99, "m": 1, "mask": "all"}]}


@torch.no_grad()
def networks(cfg: NetConfig) -> tuple[FloatNets, LatentTwin, PredictorTwin]:
    """Random weights, scaled so that sums saturate now and then and all table entries are in use."""
    torch.manual_seed(2024)
    nets, latent, predictor = FloatNets(cfg), LatentTwin(cfg, HIDDEN, WIDE), PredictorTwin(cfg, SIZE)
    nets.gain.log_gain.copy_(torch.linspace(-2.4, 1, cfg.rates)[:, None].expand(-1, cfg.latent))
    nets.decoder.inp.weight.mul_(4)  # so that tokens show in pixels
    nets.decoder.full[1].weight.mul_(8)
    for part, gain in ((latent, 3.5), (predictor, 2.2)):
        for p in part.parameters():
            p.copy_(p * gain if p.any() else 0.5 * torch.randn_like(p))
    latent.z_mean.t.copy_(1.5 * torch.randn_like(latent.z_mean.t))
    for part in latent.slices:
        part.out.w.mul_(2)
        part.out.b.mul_(0.2)
    for embed in predictor.embed:
        embed.t[250:256].mul_(60)  # these reach the ends of 16 bits
        embed.t[249].zero_()[7] = 120  # and this, alone, the end of what `norm` gives
    # Every other codeword is as likely as the one before it: the fill-in has ties to break.
    for p in (predictor.head.w, predictor.head.b):
        p[1::2] = p[::2]
    predictor.head.w.mul_(1.5)
    return nets, latent, predictor


def main() -> None:
    number, folder = int(sys.argv[1]), Path(sys.argv[2])
    cfg = CONFIGS[number]
    nets, *twins = networks(cfg)
    state = {k: v for k, v in nets.state_dict().items() if k != "pq.counts"}
    arrays = {f"float.{k}": v for k, v in pack_floats(state, small=True).items()}
    for name, twin in zip(("latent", "predictor"), twins, strict=True):
        assert isinstance(twin, nn.Module)
        flat = export(twin)[0]
        flat = heard(flat, cfg) if name == "latent" and cfg.passes else flat
        arrays |= {f"int.{name}.{k}": v for k, v in flat.items()}
    write(folder, arrays, cfg, {"number": number, **ABOUT, "name": f"vectors-{number}"})


if __name__ == "__main__":
    main()
