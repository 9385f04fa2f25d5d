"""A bundle of small random networks, and pictures to code with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from hflow.nets.config import NetConfig
from hflow.nets.feedback import Feedback
from hflow.nets.predictor import PredictorConfig, PredictorTwin
from hflow.train.joint import JointModel
from hflow.train.latent import LatentModel

NUMBER, NAME = 250, "tiny"
LADDER = [
    {"bpp": 0.05, "m": 0, "mask": "none"},
    {"bpp": 0.5, "m": 1, "mask": "1_4"},
    {"bpp": 99, "m": 2, "mask": "all"},
]
NET = {
    "widths": [8, 8, 16, 16], "enc_blocks": [1, 1, 1], "dec_blocks": [1, 1, 1], "corr_blocks": [1, 1],
    "latent": 16, "fine": 2, "slices": [4, 4, 8], "passes": [4, 1, 2], "scales": 48,
    "hyper": 4, "rates": 4, "m_max": 3, "codewords": 256, "dims": 8, "feedback": 8,
    "look_blocks": [1, 0, 1],
}  # fmt: skip
SIZE = {"width": 32, "heads": 2, "blocks": 2, "hidden": 48}


def checkpoints(seed: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Random checkpoints of the three recipes, scaled so that latents, tokens and probabilities are all in use."""
    cfg = NetConfig.of(NET)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        joint, latent = JointModel(replace(cfg, feedback=0)), LatentModel(cfg)
        tokens = PredictorTwin(cfg, PredictorConfig.of(SIZE))
        joint.gain.log_gain.copy_(torch.linspace(-2.4, 1, cfg.rates)[:, None].expand(cfg.rates, cfg.latent))
        joint.head.out.bias.zero_()
        latent.analysis.net[-1].weight.mul_(4)
        tokens.head.w.mul_(3)
        for p in (*latent.twin.parameters(), *tokens.parameters()):
            if not p.any():  # what training starts at zero is in use after it
                p.normal_(0, 0.3)
        joint.feedback = Feedback(cfg)  # drawn last: the other weights are what they are without it
        joint.feedback.out.weight.normal_(0, 0.1)
    return (
        {"net": NET, "average": joint.state_dict()},
        {"net": NET, "average": latent.state_dict()},
        {"net": NET, "average": tokens.state_dict(), "size": SIZE},
    )


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Smooth random colours with an edge across, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    out = np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    out[np.add.outer(np.arange(height), np.arange(width)) > (width + height) // 2] //= 2
    return out
