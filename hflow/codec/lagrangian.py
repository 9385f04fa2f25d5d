"""Masks by rate and distortion: a region of the picture sends the tokens that are worth their bits there.

The exchange rate between bits and squared error is what the continuous stream gives at this size. A token that the
predictor guesses right changes nothing and is not sent; one that it expects costs little.
"""

from __future__ import annotations

import numpy as np

from hflow.codec import pixels, tokens
from hflow.codec.geometry import TOKEN
from hflow.codec.masking import REGION, regions
from hflow.codec.rate import Choice, Coder, choose
from hflow.errors import TargetError
from hflow.masks import LABELS

LESS = 0.8  # of the size: where the continuous stream is looked at a second time, and tokens are tried


def choose_rd(coder: Coder, rgb: np.ndarray, budget: int) -> Choice:
    """Of the ladder's choice and the one with a mask by rate and distortion, the one with less squared error.

    rgb: (H, W, 3) uint8, the picture. budget: bytes. TargetError as `rate.choose`.
    """
    plain = choose(coder, budget)
    try:
        less = choose(coder, int(LESS * budget), "none")
    except TargetError:
        return plain
    if less.level is None or plain.size <= less.size:
        return plain
    left, most = errors(coder, rgb, less), float(errors(coder, rgb, plain).sum())
    exchange = max(0.0, (float(left.sum()) - most) / (8 * (plain.size - less.size)))
    labels = mask(coder, rgb, less, left, exchange)
    found = coder.fit(budget, 1, labels) if labels.any() else None
    return plain if found is None or errors(coder, rgb, found).sum() >= most else found


def mask(coder: Coder, rgb: np.ndarray, base: Choice, left: np.ndarray, exchange: float) -> np.ndarray:
    """The cheapest schedule of each region, (rows, columns), as an index into `masks.LABELS`.

    base: a choice without tokens, to which they are added; left: its `errors`. exchange: squared error that a bit has
    to take away.
    """
    geo = coder.geo
    q = pixels.token_indices(coder.model, coder.found, base.y, base.level)[: geo.th, : geo.tw]
    costs = [left]
    for label in LABELS[1:]:
        sent = coder.sent(label)
        bits, full = tokens.price(coder.model, geo, base.level, base.y, 1, sent, q)
        tried = Choice(base.level, 1, label, base.y, tokens=full, sent=sent)
        costs.append(errors(coder, rgb, tried) + exchange * sums(bits, REGION, regions(geo.th, geo.tw)))
    return np.argmin(costs, axis=0)


def errors(coder: Coder, rgb: np.ndarray, choice: Choice) -> np.ndarray:
    """Squared error of the regions (rows, columns), summed over pixels and colours."""
    picture = pixels.synthesize(coder.model, coder.geo, choice.level, choice.y, choice.tokens, choice.sent)
    square = ((picture.astype(np.float64) - rgb) ** 2).sum(2)
    return sums(square, REGION * TOKEN, regions(coder.geo.th, coder.geo.tw))


def sums(values: np.ndarray, side: int, shape: tuple[int, int]) -> np.ndarray:
    """Sums of (h, w) over squares of `side`, (rows, columns) as in `shape`."""
    wide = np.zeros((shape[0] * side, shape[1] * side))
    wide[: values.shape[0], : values.shape[1]] = values
    return wide.reshape(shape[0], side, shape[1], side).sum((1, 3))
