"""The two integer streams: what the encoder holds is what every decoder gets, whatever its arithmetic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_bundle import NAME, NET, picture

import hflow
from hflow.codec import enhancement, latents, pixels, tokens
from hflow.codec.decode import Indices, indices
from hflow.codec.encode import pack
from hflow.codec.geometry import LEVELS, RATE_ONE, Geometry, anchor
from hflow.codec.rate import Choice, Coder
from hflow.container import parse
from hflow.integer.reference import NumpyOps
from hflow.masks import LABELS, STAGES
from hflow.nets import continuous as C
from hflow.nets import predictor as P
from hflow.nets.bundle import Model, load
from hflow.nets.grids import sent_grid, stage_grid

M_MAX = NET["m_max"]
SETTINGS = [(level, m) for level in (None, 0, 63, 79) for m in range(M_MAX + 1) if (level, m) != (None, 0)]


def coder_of(model: Model, width: int, height: int, seed: int = 0) -> Coder:
    return Coder(model, Geometry(width, height), pixels.trunk(model, picture(width, height, seed)))


def own_tokens(model: Model, choice: Choice, width: int, height: int) -> np.ndarray:
    """All tokens (th, tw, m_max) that the encoder would send."""
    geo, found = Geometry(width, height), pixels.trunk(model, picture(width, height))
    return pixels.token_indices(model, found, choice.y, choice.level)[: geo.th, : geo.tw]


def assert_held(found: Indices, choice: Choice) -> None:
    """The decoder's indices are the encoder's."""
    assert found.level == choice.level
    for got, want in ((found.y, choice.y), (found.tokens, choice.tokens)):
        assert (got is None) == (want is None)
        if want is not None:
            np.testing.assert_array_equal(got, want)


@pytest.fixture(scope="module")
def coder(tiny: Model) -> Coder:
    return coder_of(tiny, 70, 50)


@pytest.fixture(scope="module")
def files(tiny: Model) -> list[tuple[bytes, Choice]]:
    """Files with all sorts of settings, and what they were made from."""
    out = []
    for size, settings in {
        (70, 50): [(63, 3, "1_4"), (20, 2, "all"), (None, 2, "1_2"), (50, 0, "none")],
        (1, 1): [(40, 1, "all")],
        (150, 20): [(0, 3, "none"), (50, 2, "1_16")],
    }.items():
        coder = coder_of(tiny, *size)
        out += [(pack(tiny, coder.geo, choice), choice) for choice in (coder.code(*s) for s in settings)]
    return out


def test_the_files_have_something_in_them(files: list[tuple[bytes, Choice]]) -> None:
    """Tests on streams of zeros would prove little."""
    y, q = files[0][1].y, files[0][1].tokens
    assert y is not None
    assert q is not None
    assert np.abs(y).max() > 30
    assert len(np.unique(y)) > 20
    assert len(np.unique(q)) > 10


@pytest.mark.parametrize(("level", "m"), SETTINGS)
def test_every_setting_decodes_to_what_was_encoded(coder: Coder, level: int | None, m: int) -> None:
    for mask in LABELS if m else ("none",):
        choice = coder.code(level, m, mask)
        data = pack(coder.model, coder.geo, choice)
        assert len(data) == choice.size
        file = parse(data)
        assert (file.settings.m, file.settings.mask.label) == (m, mask)
        assert_held(indices(coder.model, file), choice)


@pytest.mark.parametrize(("width", "height"), [(130, 70), (1, 1), (17, 50)])
def test_stages_in_chunks_of_their_own(tiny: Model, width: int, height: int) -> None:
    coder = coder_of(tiny, width, height)
    for level, m, mask in ((30, 2, "all"), (None, 3, "1_2"), (63, 1, "1_16")):
        plain = coder.code(level, m, mask)
        q = own_tokens(tiny, plain, width, height)
        chunks, full = tokens.write(tiny, coder.geo, level, plain.y, m, plain.sent, q, chunked=True)
        assert (full == plain.tokens).all()
        assert len(chunks) == STAGES
        sent = sent_grid(coder.geo.th, coder.geo.tw, mask)
        stages = set(stage_grid(coder.geo.th, coder.geo.tw)[sent].tolist())
        assert {k + 1 for k, chunk in enumerate(chunks) if chunk} == stages
        data = pack(tiny, coder.geo, replace(plain, chunks=tuple(chunks)))
        assert parse(data).chunked
        assert_held(indices(tiny, parse(data)), plain)


def test_same_indices_in_any_arithmetic(tiny: Model, files: list[tuple[bytes, Choice]], arithmetic: None) -> None:
    # On a busy machine two threads wait for each other at every tiny layer: one small file has to do.
    for data, choice in files if torch.get_num_threads() == 1 else files[-1:]:
        assert_held(indices(tiny, parse(data)), choice)


def test_same_indices_from_the_reference(tiny_models: Path, files: list[tuple[bytes, Choice]]) -> None:
    reference = load(tiny_models / NAME, "cpu", NumpyOps())
    for data, choice in files:
        assert_held(indices(reference, parse(data)), choice)


def test_same_bytes_from_the_reference(tiny_models: Path, files: list[tuple[bytes, Choice]]) -> None:
    reference = load(tiny_models / NAME, "cpu", NumpyOps())
    coder = coder_of(reference, 70, 50)
    assert pack(reference, coder.geo, coder.code(63, 3, "1_4")) == files[0][0]


def test_same_indices_under_autocast(tiny: Model, files: list[tuple[bytes, Choice]]) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for data, choice in files:
            assert_held(indices(tiny, parse(data)), choice)


def test_what_is_encoded_under_autocast_can_be_decoded(tiny: Model) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        data = hflow.encode(picture(70, 50), 1)
    hflow.decode(data)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (70, 50), (130, 70)])
def test_the_measured_size_is_the_written_size(tiny: Model, width: int, height: int) -> None:
    coder = coder_of(tiny, width, height)
    for level in (0, 5, 17, 31, 32, 44, 63):
        z, y, size = coder.continuous(level)
        written = len(latents.write(tiny, coder.geo, level, z, y))
        assert abs(written - size) <= 1.5 + 0.005 * written
    assert np.abs(y).max() > 15  # escapes are counted too


def test_large_latents_survive(tiny: Model) -> None:
    geo = Geometry(40, 40)
    y = np.random.default_rng(0).integers(-300, 300, (geo.h, geo.w, NET["latent"]))
    y[0, 0, :4] = 2**15 - 1, -(2**15) + 1, 127, -128
    z = np.array([[[0, 5000, -9, 300]]])
    for model in (tiny, load_reference(tiny)):
        data = latents.write(model, geo, 10, z, y)
        assert (latents.read(model, geo, 10, data) == y).all()
        bits = latents.measure(model, geo, 10, z, y)
        assert abs(bits / 8 - len(data)) <= 1.5 + 0.005 * len(data)


def load_reference(model: Model) -> Model:
    from hflow import bundles

    return load(bundles.find(model.number), "cpu", NumpyOps())


def test_latents_are_visited_as_specified(tiny: Model) -> None:
    """formats/decoding.md, 3.4: by slice and pass; parameters see what came before, only."""
    ops, t, cfg, h, w = tiny.ops, C.tables(tiny.ops), tiny.cfg, 4, 5
    rng = np.random.default_rng(0)
    hyper = ops.const(rng.integers(-99, 99, (1, h, w, C.HIDDEN)))
    offsets, (rows, cols) = np.cumsum([0, *cfg.slices]), np.indices((h, w))
    odd = (rows + cols) % 2
    order = {1: np.zeros((h, w)), 2: odd, 4: np.where(odd, 2, 0) + rows % 2}

    def visit(y: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
        seen = []

        def fill(s: int, turn: int, mask: np.ndarray, mean: Any, scale: Any) -> Any:
            seen.append((s, mask > 0, np.concatenate([ops.numpy(mean), ops.numpy(scale)], -1)))
            return ops.const(y[None, ..., offsets[s] : offsets[s + 1]])

        slices = list(C.walk(ops, t, tiny.latent, hyper, cfg, fill))
        assert (ops.numpy(ops.cat(slices))[0] == y).all()
        return seen

    y = rng.integers(-9, 10, (h, w, cfg.latent))
    calls = visit(y)
    expected = [(s, order[n] == k) for s, n in enumerate(cfg.passes) for k in range(n)]
    assert set(cfg.passes) == {1, 2, 4}
    assert [s for s, _, _ in calls] == [s for s, _ in expected]
    assert all((mask == cells).all() for (_, mask, _), (_, cells) in zip(calls, expected, strict=True))
    for at in range(len(calls)):  # other values at one visit: parameters are others after it, and the same up to it
        s, mask, _ = calls[at]
        other = y.copy()
        other[mask, offsets[s] : offsets[s + 1]] += 40
        same = [np.array_equal(a[2], b[2]) for a, b in zip(calls, visit(other), strict=True)]
        assert same == [True] * (at + 1) + [False] * (len(calls) - at - 1)


def test_a_higher_rate_level_is_a_finer_latent(coder: Coder) -> None:
    sizes = [coder.continuous(level)[2] for level in (0, 20, 40, 63, 79)]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 3 * sizes[0]


def test_steps_go_on_getting_finer_beyond_the_trained_levels(tiny: Model) -> None:
    """By as much from level to level as between the last two anchors; what a decoder and the format say agree."""
    at = [tiny.nets.gain(pixels.rate_tensor(tiny, level)).log().detach()[0, :, 0, 0] for level in (56, 63, 70, 79)]
    slope = (at[1] - at[0]) / 7
    assert torch.allclose(at[2], at[1] + 7 * slope, atol=1e-4)
    assert torch.allclose(at[3], at[1] + 16 * slope, atol=1e-4)
    ratio = torch.from_numpy(enhancement.ratios(tiny, 63, 79) / 2**16)
    assert torch.allclose(ratio.float(), (16 * slope).exp(), rtol=0.01)


def test_the_nearest_anchor() -> None:
    for rates in (2, 4, 8):
        got = [anchor(level, rates) for level in range(LEVELS)]
        assert got == [int(min(level, RATE_ONE) * (rates - 1) / RATE_ONE + 0.5) for level in range(LEVELS)]
        assert set(got) == set(range(rates))


@pytest.mark.parametrize("mask", ["1_4", "1_9", "none"])
@pytest.mark.parametrize("level", [None, 35])
def test_sent_tokens_are_exact_and_the_rest_is_the_most_likely(tiny: Model, level: int | None, mask: str) -> None:
    coder, m, cfg = coder_of(tiny, 100, 70), 2, tiny.cfg
    geo = coder.geo
    choice = coder.code(level, m, mask)
    found = indices(tiny, parse(pack(tiny, geo, choice)))
    assert found.tokens is not None
    assert found.tokens.shape == (geo.th, geo.tw, m)
    own = own_tokens(tiny, choice, 100, 70)[..., :m]
    sent = sent_grid(geo.th, geo.tw, mask)
    assert (found.tokens[sent] == own[sent]).all()

    # The fill-in by hand: one call of the predictor on what was sent.
    ops, t = tiny.ops, C.tables(tiny.ops)
    y = np.zeros((geo.h, geo.w, cfg.latent)) if choice.y is None else choice.y
    at = ops.index([cfg.rates if level is None else anchor(level, cfg.rates)])
    known = np.full((1, 2 * geo.h, 2 * geo.w, cfg.m_max), cfg.codewords + P.UNUSED)
    known[..., :m] = cfg.codewords + P.UNKNOWN
    known[0, : geo.th, : geo.tw, :m][sent] = own[sent]
    ctx = P.context(ops, t, tiny.predictor, ops.const(y[None]), at)
    scores = ops.numpy(P.logits(ops, t, tiny.predictor, ops.index(known), ctx))
    best = scores[0, : geo.th, : geo.tw, :m].argmax(-1)
    assert (found.tokens[~sent] == best[~sent]).all()
    assert (best != own).any()  # a predictor that knew everything would make this test blind


def test_tokens_are_nested(coder: Coder) -> None:
    """A file with fewer sub-quantizers holds the same first ones."""
    one, three = (coder.code(30, m, "all").tokens for m in (1, 3))
    assert one is not None
    assert three is not None
    assert (three[..., :1] == one).all()


def test_positions_may_be_asked_for_alone(tiny: Model) -> None:
    """`select` returns what the whole grid would hold there, bit for bit."""
    ops, t, cfg, rng = tiny.ops, C.tables(tiny.ops), tiny.cfg, np.random.default_rng(5)
    q = ops.index(rng.integers(0, cfg.codewords + 2, (1, 10, 14, cfg.m_max)))
    ctx = P.context(ops, t, tiny.predictor, ops.const(rng.integers(-9, 9, (1, 5, 7, cfg.latent))), ops.index([1]))
    whole = ops.numpy(P.logits(ops, t, tiny.predictor, q, ctx)).reshape(140, cfg.m_max, cfg.codewords)
    for pick in ([0], [139, 3, 3], list(range(0, 140, 7))):
        some = ops.numpy(P.logits(ops, t, tiny.predictor, q, ctx, ops.index(pick)))
        assert (some == whole[pick]).all()


def test_fidelity_leaves_indices_alone(
    tiny: Model, files: list[tuple[bytes, Choice]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(pixels, "synthesize", lambda *args: seen.append(args) or np.zeros((50, 70, 3), np.uint8))
    for fidelity in (0.0, 0.5, 1.0):
        hflow.decode(files[0][0], fidelity=fidelity)
    for _, geo, level, y, q, sent, *_ in seen:
        assert level == 63
        assert (sent == sent_grid(geo.th, geo.tw, "1_4")).all()
        assert (y == files[0][1].y).all()
        assert (q == files[0][1].tokens).all()
    assert [args[6] for args in seen] == [0.0, 0.5, 1.0]
