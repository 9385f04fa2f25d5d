"""The bundle of the conformance files: small random networks. Made once; the files depend on every bit of it.

python formats/vectors/make_bundle.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from hflow.integer.export import export
from hflow.nets.bundle import FloatNets
from hflow.nets.config import NetConfig
from hflow.nets.continuous import LatentTwin
from hflow.nets.predictor import PredictorConfig, PredictorTwin
from hflow.train.release import pack_floats, write

CONFIG = NetConfig(
    widths=(8, 8, 16, 16), enc_blocks=(1, 1, 1), dec_blocks=(1, 1, 1), corr_blocks=(1, 1), latent=7, fine=1,
    slices=(2, 5), hyper=3, rates=3, m_max=4, codewords=256, dims=4,
)  # fmt: skip
HIDDEN, WIDE = 24, 20
SIZE = PredictorConfig(width=24, heads=2, blocks=3, hidden=36)
ABOUT = {"number": 255, "license": "CC0-1.0", "ladder": [{"bpp": 99, "m": 1, "mask": "all"}]}


@torch.no_grad()
def networks() -> tuple[FloatNets, LatentTwin, PredictorTwin]:
    """Random weights, scaled so that sums saturate now and then and all table entries are in use."""
    torch.manual_seed(2024)
    nets, latent, predictor = FloatNets(CONFIG), LatentTwin(CONFIG, HIDDEN, WIDE), PredictorTwin(CONFIG, SIZE)
    nets.gain.log_gain.copy_(torch.linspace(-2.4, 1, CONFIG.rates)[:, None].expand(-1, CONFIG.latent))
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
    nets, *twins = networks()
    state = {k: v for k, v in nets.state_dict().items() if k != "pq.counts"}
    arrays = {f"float.{k}": v for k, v in pack_floats(state, small=True).items()}
    for name, twin in zip(("latent", "predictor"), twins, strict=True):
        assert isinstance(twin, nn.Module)
        arrays |= {f"int.{name}.{k}": v for k, v in export(twin)[0].items()}
    write(Path(sys.argv[1]), arrays, CONFIG, {**ABOUT, "name": "vectors"})


if __name__ == "__main__":
    main()
