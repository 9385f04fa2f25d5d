"""The pictures of docs/why.md and docs/how.md, out of real encodings of Kodak photos.

    python docs/figures.py kodak/

Writes docs/pictures/ anew, with a README.md that says what the pictures show, in numbers, and what made them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import hflow
from hflow import bundles, masks
from hflow.bench.measure import read
from hflow.codec import complexity, latents, masking, pixels, tokens
from hflow.codec.geometry import TOKEN, Geometry
from hflow.codec.spending import paint, spending
from hflow.nets.bundle import Model, load
from hflow.nets.grids import sent_grid, stage_grid

OUT = Path(__file__).parent / "pictures"
RATES = (0.01, 0.03, 0.1)
CROPS = {  # photo, left and top of what docs/why.md shows
    "text": ("kodim14", 500, 330),
    "faces": ("kodim14", 345, 140),
    "portrait": ("kodim04", 170, 300),
    "texture": ("kodim19", 10, 480),
}
SIDE = 176
PHOTO, LEVEL = "kodim23", 44  # what docs/how.md shows, at which rate level
DETAIL = 384, 90, 768, 346  # left, top, right and bottom of a detail of it
ZOOM = 8  # pixels on a side of a token in small pictures

Rows = list[tuple[str, str]]  # what was measured, and how much it was


def save(image: Image.Image | np.ndarray, name: str, quality: int = 92) -> None:
    """A picture, as an image or an array (H, W, 3) uint8, for the pages."""
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(OUT / f"{name}.webp", quality=quality, method=6)


def inventions(folder: Path) -> Rows:
    """Details of photos at several sizes, and the sizes."""
    rows = []
    for photo in sorted({photo for photo, _, _ in CROPS.values()}):
        original = Image.fromarray(read(folder / f"{photo}.png"))
        shown = {"original": original}
        for bpp in RATES:
            data = hflow.encode(original, bpp)
            shown[f"{bpp:g}"] = hflow.decode(data)
            rows.append((f"{photo} at {bpp:g} bpp", f"{len(data):,} bytes"))
        for subject, (of, x, y) in CROPS.items():
            for label, image in shown.items() if of == photo else ():
                save(image.crop((x, y, x + SIDE, y + SIDE)), f"{subject}-{label}", 95)
    return rows


class Parts:
    """The streams of the photo of docs/how.md at one rate level."""

    def __init__(self, model: Model, rgb: np.ndarray) -> None:
        self.model, self.rgb = model, rgb
        self.geo = Geometry(rgb.shape[1], rgb.shape[0])
        found = pixels.trunk(model, rgb)
        self.z, self.y = pixels.latents(model, found, LEVEL)
        self.q, self.alone = (  # beside the continuous stream, and without it
            pixels.token_indices(model, found, y, level)[: self.geo.th, : self.geo.tw]
            for y, level in ((self.y, LEVEL), (None, None))
        )

    def sent(self, mask: str) -> np.ndarray:
        """Which tokens a schedule sends, (th, tw) bool."""
        return sent_grid(self.geo.th, self.geo.tw, mask)

    def small(self) -> np.ndarray:
        """The photo, ZOOM pixels for each token."""
        size = ZOOM * self.geo.tw, ZOOM * self.geo.th
        return np.asarray(Image.fromarray(self.rgb).resize(size, Image.Resampling.LANCZOS))


def wide(grid: np.ndarray) -> np.ndarray:
    """A value for each token, (th, tw, ...), as pixels of a small picture."""
    return np.repeat(np.repeat(grid, ZOOM, 0), ZOOM, 1)


def heat(share: np.ndarray) -> np.ndarray:
    """Values in 0..1 as colours from dark blue over red to light yellow, (..., 3) uint8."""
    stops = np.array([(20, 20, 80), (200, 60, 90), (255, 225, 130)])
    return np.stack([np.interp(share, (0, 0.5, 1), stop) for stop in stops.T], -1).astype(np.uint8)


def token_grid(parts: Parts) -> Rows:
    """The photo, and a colour for each of its tokens: like codewords have like colours."""
    save(parts.small(), "photo")
    book = parts.model.nets.pq.codebook[0].numpy()
    axes = np.linalg.svd(book - book.mean(0), full_matrices=False)[2][:3]  # in which codewords differ most
    place = (book @ axes.T).argsort(0).argsort(0) / (len(book) - 1)
    colours = (40 + 215 * place).astype(np.uint8)
    rows = []
    for name, q in (("alone", parts.alone), ("beside the continuous stream", parts.q)):
        save(wide(colours[q[..., 0]]), f"tokens-{name.split()[0]}")
        rows.append((f"tokens {name}", f"{np.unique(q[..., 0]).size} of {len(book)} names in use"))
    return [("grid of tokens", f"{parts.geo.th} x {parts.geo.tw}"), *rows]


def schedules(parts: Parts) -> Rows:
    """What each mask schedule sends: the photo where a token is sent, dim elsewhere."""
    found = {label: parts.sent(label) for label in masks.LABELS if label != "none"}
    labels = complexity.mask(parts.rgb)
    found["complexity"] = masking.sent_tokens(labels, parts.geo.th, parts.geo.tw)
    for label, sent in found.items():
        save((parts.small() * np.where(wide(sent), 1, 0.2)[..., None]).astype(np.uint8), f"mask-{label}")
    return [(f"mask {label}", f"{sent.mean():.0%} of the tokens sent") for label, sent in found.items()]


def confidence(parts: Parts) -> Rows:
    """How probable the predictor found each token when its turn came, all sent, one sub-quantizer."""
    model, geo, sent = parts.model, parts.geo, parts.sent("all")
    chunks, _ = tokens.write(model, geo, LEVEL, parts.y, 1, sent, parts.q)
    bits, _, right = tokens.read_map(model, geo, LEVEL, parts.y, 1, sent, tuple(chunks))
    save(wide(heat((1 - bits / 8).clip(0, 1))), "confidence")
    stage = stage_grid(geo.th, geo.tw)
    rows = [(f"bits per token, stage {s}", f"{bits[stage == s].mean():.2f}") for s in range(1, masks.STAGES + 1)]
    return [*rows, ("tokens that the predictor had right before they came", f"{right.mean():.0%}")]


def streams(parts: Parts) -> Rows:
    """The photo out of the continuous stream alone, out of the tokens alone, and out of both."""
    model, geo, sent = parts.model, parts.geo, parts.sent("all")
    save(parts.rgb[DETAIL[1] : DETAIL[3], DETAIL[0] : DETAIL[2]], "streams-original")
    for name, level, y, q, alpha in (
        ("continuous", LEVEL, parts.y, None, 1.0),
        ("tokens", None, None, parts.alone, 0.0),
        ("fused", LEVEL, parts.y, parts.q, 1.0),
    ):
        rgb = pixels.synthesize(model, geo, level, y, q, sent, alpha)
        save(rgb[DETAIL[1] : DETAIL[3], DETAIL[0] : DETAIL[2]], f"streams-{name}")
    m = model.cfg.m_max
    rows = [("continuous stream", f"{len(latents.write(model, geo, LEVEL, parts.z, parts.y)):,} bytes")]
    for name, level, y, q in (("alone", None, None, parts.alone), ("beside it", LEVEL, parts.y, parts.q)):
        size = sum(map(len, tokens.write(model, geo, level, y, m, sent, q)[0]))
        rows.append((f"all tokens, {m} to a place, {name}", f"{size:,} bytes"))
    return rows


def bits(parts: Parts) -> Rows:
    """Where the bits of a file go."""
    data = hflow.encode(parts.rgb, RATES[-1])
    save(paint(spending(data)), "bits", 80)
    return [(f"{PHOTO} at {RATES[-1]:g} bpp", f"{len(data):,} bytes")]


def main(folder: Path) -> None:
    OUT.mkdir(exist_ok=True)
    model = load(bundles.default())
    parts = Parts(model, read(folder / f"{PHOTO}.png"))
    rows = inventions(folder)
    steps: tuple[Callable[[Parts], Rows], ...] = (token_grid, schedules, confidence, streams, bits)
    for step in steps:
        rows += step(parts)
    text = f"""# These pictures

Written by `python docs/figures.py kodak/`, where `kodak/` holds the Kodak photos, with bundle {model.name}
({model.digest.hex()[:8]}). [Why, and when not](../why.md) shows details of {SIDE} x {SIDE} pixels of photos that were
coded whole; [how it works](../how.md) shows {PHOTO}, at rate level {LEVEL} where nothing else is said. Tokens are
squares of {TOKEN} pixels.

| what | how much |
|---|---|
"""
    (OUT / "README.md").write_text(text + "".join(f"| {name} | {value} |\n" for name, value in rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
