"""Files of random indices: what the conformance files are made of."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from hflow.codec import enhancement, latents, masking, tokens
from hflow.codec.checksum import index_checksum
from hflow.codec.geometry import Geometry
from hflow.container import Container, MaskSchedule, Profile, Section, Settings, serialize
from hflow.container.model import Kind
from hflow.masks import LABELS
from hflow.nets.bundle import Model
from hflow.nets.grids import sent_grid


def schedule(label: str) -> MaskSchedule:
    return next(s for s in MaskSchedule if s.label == label)


@dataclass(frozen=True)
class Case:
    """A file of random indices. spread: of y and z, large ones are escaped; token: the only one, by default random.

    With a token, a coded mask sends nothing.
    """

    says: str
    width: int
    height: int
    level: int | None = 30
    m: int = 1
    mask: str = "all"
    chunked: bool = False
    profile: Profile = Profile.HYBRID
    spread: float = 1.0
    token: int | None = None
    extra: tuple[Section, ...] = ()
    layers: tuple[int, ...] = ()  # rate levels of enhancements


def draw(case: Case, model: Model, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random z, y and tokens."""
    geo, cfg = Geometry(case.width, case.height), model.cfg
    z = np.rint(rng.laplace(0, 2 * case.spread, (geo.zh, geo.zw, cfg.hyper))).astype(np.int64)
    y = np.rint(rng.laplace(0, 1.5 * case.spread, (geo.h, geo.w, cfg.latent))).astype(np.int64)
    q = rng.integers(0, cfg.codewords, (geo.th, geo.tw, cfg.m_max))
    if case.token is not None:
        q[:] = case.token
    y = y.clip(-latents.LIMIT, latents.LIMIT)
    if case.spread > 1000:
        y.flat[:2] = -latents.LIMIT, latents.LIMIT
    return z, y, q


def make(name: str, case: Case, model: Model) -> bytes:
    """The bytes of a file."""
    geo = Geometry(case.width, case.height)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    z, y, q = draw(case, model, rng)
    given = None if case.level is None else y
    sections: list[Section] = []
    full = None
    if case.level is not None:
        sections.append(Section(Kind.CONTINUOUS, latents.write(model, geo, case.level, z, y)))
    if case.m:
        if case.mask == "coded":
            labels = rng.integers(0, len(LABELS), masking.regions(geo.th, geo.tw))
            if case.token is not None:
                labels[:] = 0
            sent = masking.sent_tokens(labels, geo.th, geo.tw)
            sections.append(Section(Kind.MASK, masking.write(labels)))
        else:
            sent = sent_grid(geo.th, geo.tw, case.mask)
        chunks, full = tokens.write(model, geo, case.level, given, case.m, sent, q, case.chunked)
        if case.mask != "none":
            sections += [Section(Kind.INDEX, chunk) for chunk in chunks]
    for k, section in enumerate(case.extra):
        sections.insert(2 * k + 1, section)
    layers: list[np.ndarray] = []
    below = case.level or 0, y
    for level in case.layers:
        low, high = enhancement.bounds(model, below, level)
        finer = np.where(rng.random(y.shape) < 0.02, draw(case, model, rng)[1], rng.integers(low, high + 1))
        sections.append(Section(Kind.ENHANCEMENT, enhancement.write(model, geo, below, level, z, finer)))
        layers.append(finer)
        below = level, finer
    rate = 0 if case.level is None else 1 + case.level
    settings = Settings(rate, case.m, schedule(case.mask), case.profile)
    checksum = index_checksum(model.digest, given, full, layers)
    return serialize(
        Container(case.width, case.height, model.number, model.fingerprint, settings, checksum, case.chunked,
                  tuple(sections))
    )  # fmt: skip
