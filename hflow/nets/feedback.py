"""A second look: the decoder analyses its own picture, sees where that says otherwise than the file, and answers.

A decode that is analysed again gives back another latent than the one it was made of: most of all, what was faint has
become fainter. How far it is off is known to the decoder alone, which has both, and costs no bits. So the latent is
changed by some of that, and decoded once more: one step of iterative back-projection (Irani and Peleg, CVGIP 1991, 3),
with the analysis network in the camera's place. How much of it is learnt, and is little where a value was rounded to
zero: there a decode is right to say something else. The first decode may be a rougher one (`NetConfig.look_blocks`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hflow.nets.blocks import ResBlock, between, conv
from hflow.nets.config import NetConfig
from hflow.nets.precision import mixed

KNOTS = 3  # rates at which the shares are learnt
START = 0.4, 0.4, 0.0  # of what a value lacks, of what it has too much, of anything where it is zero


class Feedback(nn.Module):
    """y (B, C, h, w) in whole steps, what a decode of it lacks, analysed again, and rate (B,), to a change of y."""

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        width, self.depth = cfg.feedback, cfg.look_blocks
        self.shares = nn.Parameter(torch.tensor(START)[None, :, None].repeat(KNOTS, 1, cfg.latent))
        self.inp, self.rate = conv(4 * cfg.latent, width, 1), nn.Linear(1, width)
        self.body, self.out = ResBlock(width), conv(width, cfg.latent, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, y: Tensor, lacks: Tensor, rate: Tensor) -> Tensor:
        sign, said = y.sign(), (y != 0).to(y.dtype)
        more = (lacks * sign).clamp(min=0) * sign
        kinds = torch.stack([more, lacks * said - more, lacks * (1 - said)], 1)
        known = torch.cat([sign * y.abs().log1p(), said, lacks * said, lacks * (1 - said)], 1)
        h = self.inp(known) + self.rate(rate[:, None])[:, :, None, None]
        change: Tensor = self.out(F.leaky_relu(self.body(h), 0.1))
        return change + (between(self.shares, rate)[..., None, None] * kinds).sum(1)


def answered(nets: Any, planes: Tensor, y: Tensor, rate: Tensor) -> Tensor:
    """y (B, C, h, w) in steps after a second look; as it is, if `nets.feedback` is None.

    nets: with `gain`, `decoder`, `analysis` and `feedback`. planes: tokens as the decoder takes them. Gradients reach
    the feedback network alone.
    """
    if nets.feedback is None:
        return y
    with torch.no_grad():
        gain = nets.gain(rate)
        with mixed(y.device):  # a picture that nobody sees; what is shown moves by a rounding step at most
            first = nets.decoder(planes, nets.decoder.correction(y / gain, rate), depth=nets.feedback.depth)
        # One cell wide, a strided convolution in bf16 has come to NaN (oneDNN with AMX, torch 2.14).
        kind, wide = y.device.type, min(y.shape[2:]) > 1
        with torch.autocast(kind, enabled=wide and torch.is_autocast_enabled(kind)):
            lacks = y - nets.analysis(first.float().clamp(0, 1), rate)[1].float() * gain
    changed: Tensor = y + nets.feedback(y, lacks, rate)
    return changed
