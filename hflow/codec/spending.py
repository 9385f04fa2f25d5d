"""Where a file's bits go, over the picture, and which tokens the predictor knew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from hflow.codec import enhancement, latents, tokens
from hflow.codec.decode import check, decoded, sent_by
from hflow.codec.geometry import CELL, TOKEN, Geometry
from hflow.container import parse
from hflow.nets.bundle import for_file, pick_device

RIGHT, WRONG, FILLED = (70, 220, 90), (255, 70, 60), (80, 140, 255)  # colours of tokens
DOT = 2  # pixels around a token's centre


@dataclass(frozen=True)
class Spending:
    """Bits of the continuous stream on the grid of cells (h, w), and of tokens on theirs (th, tw).

    sent: tokens that are in the file; right: those of them that the predictor had guessed. picture: the decoded one,
    (H, W, 3) uint8.
    """

    geo: Geometry
    cells: np.ndarray
    tokens: np.ndarray
    sent: np.ndarray | None
    right: np.ndarray | None
    picture: np.ndarray

    def per_cell(self) -> np.ndarray:
        """All bits on the grid of cells (h, w)."""
        wide = np.zeros((2 * self.geo.h, 2 * self.geo.w))
        wide[: self.geo.th, : self.geo.tw] = self.tokens
        return self.cells + wide.reshape(self.geo.h, 2, self.geo.w, 2).sum((1, 3))


def spending(data: bytes, *, device: str = "auto") -> Spending:
    """Of a file's bytes. Raises what `hflow.decode` raises."""
    file = parse(data)
    check(file)
    model = for_file(file.bundle, file.fingerprint, pick_device(device))
    found = decoded(model, file)
    geo, level = found.geometry, found.level
    cells, spent, known, right = np.zeros((geo.h, geo.w)), np.zeros((geo.th, geo.tw)), None, None
    if level is not None:
        layered = any(file.enhancements)
        y, cells = latents.read_map(model, geo, level, file.continuous or b"", file.cut and not layered)
        for data, layer in zip(filter(None, file.enhancements), found.layers, strict=True):
            within = enhancement.bounds(model, (level, y), layer.level)
            y, more = latents.read_map(model, geo, layer.level, data[1:], not layer.known.all(), within)
            level, cells = layer.level, cells + more
    if found.tokens is not None:
        sent, m = sent_by(file, geo), file.settings.m
        spent, known, right = tokens.read_map(model, geo, found.level, found.y, m, sent, file.index_chunks, file.cut)
    return Spending(geo, cells, spent, known, right, found.picture(model))


def paint(s: Spending) -> Image.Image:
    """The picture in grey, cells brighter and warmer the more they took; a dot on each token.

    Green: sent and guessed right, red: sent and guessed wrong, blue: not sent, so filled in.
    """
    grey = np.asarray(Image.fromarray(s.picture).convert("L"), dtype=np.float32)[..., None]
    share = s.per_cell()
    share = np.sqrt(share / max(share.max(), 1e-9))
    heat = np.repeat(np.repeat(share, CELL, 0), CELL, 1)[: s.geo.height, : s.geo.width, None]
    colour = heat * np.array([255, 150, 0]) + (1 - heat) * np.array([0, 20, 90])
    out = Image.fromarray((0.45 * grey + 0.55 * colour).clip(0, 255).astype(np.uint8))
    if s.sent is not None and s.right is not None:
        draw = ImageDraw.Draw(out)
        for r, c in np.ndindex(*s.sent.shape):
            x, y = (TOKEN * k + TOKEN // 2 for k in (c, r))
            fill = FILLED if not s.sent[r, c] else RIGHT if s.right[r, c] else WRONG
            draw.rectangle((x - DOT, y - DOT, x + DOT - 1, y + DOT - 1), fill=fill)
    return out
