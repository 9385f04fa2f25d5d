"""What tokens cost in different coding orders, five stages each, by the bundle's own predictor.

Information of the predictor's distributions in bits, without the rounding to frequencies. Every order codes as many
tokens in each stage as the quincunx order does. `confidence` codes where the predictor is surest first, which a decoder
could follow, since it makes the same predictions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hflow.codec.geometry import anchor
from hflow.integer import scales as S
from hflow.masks import STAGES
from hflow.nets import predictor as P
from hflow.nets.bundle import Model
from hflow.nets.caller import exact
from hflow.nets.grids import stage_grid

ORDERS = ("quincunx", "raster", "confidence")


@torch.inference_mode()
@exact
def bits(model: Model, level: int | None, y: np.ndarray, tokens: np.ndarray, order: str) -> float:
    """Bits per token of tokens (2h, 2w), M = 1, y (h, w, C); without the continuous stream if `level` is None."""
    ops, p, cfg = model.ops, model.predictor, model.cfg
    t = model.tables
    at = ops.index([cfg.rates if level is None else anchor(level, cfg.rates)])
    ctx = P.context(ops, t, p, ops.const((y if level is not None else np.zeros_like(y))[None]), at)
    known = np.full((*tokens.shape, cfg.m_max), cfg.codewords + P.UNUSED, dtype=np.int64)
    known[..., 0] = cfg.codewords + P.UNKNOWN
    missing = np.ones(tokens.size, dtype=bool)
    quincunx = stage_grid(*tokens.shape).ravel()
    total = 0.0
    for stage in range(1, STAGES + 1):
        lg = P.logits(ops, t, p, ops.index(known[None]), ctx)[..., 0, :].reshape(tokens.size, -1)
        log_p = log2_softmax(lg)
        places = chosen(order, stage, quincunx, missing, log_p)
        flat = tokens.ravel()[places]
        total -= float(log_p[places, flat].sum())
        missing[places] = False
        known.reshape(tokens.size, -1)[places, 0] = flat
    return total / tokens.size


def log2_softmax(lg: Any) -> np.ndarray:
    """Logits (n, V) in the predictor's units, a fraction of an octave, to log2 probabilities."""
    x = np.asarray(lg.cpu(), dtype=np.float64) / 2**S.LOGIT
    top = x.max(1, keepdims=True)
    return x - top - np.log2(np.exp2(x - top).sum(1, keepdims=True))


def chosen(order: str, stage: int, quincunx: np.ndarray, missing: np.ndarray, log_p: np.ndarray) -> np.ndarray:
    """Places of the flattened grid that an order codes in a stage."""
    if order == "quincunx":
        return np.flatnonzero(quincunx == stage)
    n = int((quincunx == stage).sum())
    left = np.flatnonzero(missing)
    if order == "raster":
        return left[:n]
    entropy = -(np.exp2(log_p[left]) * log_p[left]).sum(1)
    return left[np.argsort(entropy, kind="stable")[:n]]
