"""A batch is computed as its pictures would be one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hflow.integer.reference import NumpyOps
from hflow.nets import continuous as C
from hflow.nets import predictor as P
from hflow.nets.bundle import Model, load

RATES = [0, 1, 1]


@pytest.fixture(params=["torch", "numpy"])
def model(tiny: Model, tiny_models: Any, request: pytest.FixtureRequest) -> Model:
    return tiny if request.param == "torch" else load(tiny_models / tiny.name, "cpu", NumpyOps())


def test_parameters_of_the_continuous_stream(model: Model) -> None:
    ops, t, cfg, rng = model.ops, C.tables(model.ops), model.cfg, np.random.default_rng(0)
    z, y = rng.integers(-9, 9, (3, 1, 2, cfg.hyper)), rng.integers(-20, 20, (3, 3, 5, cfg.latent))
    offsets = np.cumsum([0, *cfg.slices])

    def parameters(of: slice) -> list[np.ndarray]:
        seen: list[np.ndarray] = []

        def fill(s: int, turn: int, mask: np.ndarray, mean: Any, scale: Any) -> Any:
            seen.extend((ops.numpy(mean), ops.numpy(scale)))
            return ops.const(y[of, ..., offsets[s] : offsets[s + 1]])

        hyper = C.hyper_features(ops, t, model.latent, ops.const(z[of]), ops.index(RATES[of]), 3, 5)
        list(C.walk(ops, t, model.latent, hyper, cfg, fill))
        return seen

    batch = parameters(slice(0, 3))
    for n in range(3):
        for together, alone in zip(batch, parameters(slice(n, n + 1)), strict=True):
            assert np.array_equal(together[n : n + 1], alone)


def test_a_latent_that_is_there_is_told_what_a_walk_says(model: Model) -> None:
    ops, t, cfg, rng = model.ops, C.tables(model.ops), model.cfg, np.random.default_rng(2)
    z, y = rng.integers(-9, 9, (3, 2, 2, cfg.hyper)), rng.integers(-20, 20, (3, 5, 7, cfg.latent))
    offsets = np.cumsum([0, *cfg.slices])
    hyper = C.hyper_features(ops, t, model.latent, ops.const(z), ops.index(RATES), 5, 7)
    mean, scale = (ops.numpy(v) for v in C.known(ops, t, model.latent, hyper, cfg, ops.const(y)))
    told = np.zeros(y.shape, dtype=int)

    def fill(s: int, turn: int, mask: np.ndarray, *said: Any) -> Any:
        part = slice(None), mask > 0, slice(offsets[s], offsets[s + 1])
        for known, of in zip((mean, scale), said, strict=True):
            assert np.array_equal(known[part], ops.numpy(of)[:, mask > 0])
        told[part] += 1
        return ops.const(np.where(mask[None, :, :, None], y[..., part[2]], 99))

    list(C.walk(ops, t, model.latent, hyper, cfg, fill))
    assert (told == 1).all()


def test_logits_of_the_predictor(model: Model) -> None:
    ops, t, cfg, rng = model.ops, C.tables(model.ops), model.cfg, np.random.default_rng(1)
    y = rng.integers(-9, 9, (3, 3, 5, cfg.latent))
    q = rng.integers(0, cfg.codewords + 2, (3, 6, 10, cfg.m_max))

    def logits(of: slice) -> np.ndarray:
        ctx = P.context(ops, t, model.predictor, ops.const(y[of]), ops.index(RATES[of]))
        return ops.numpy(P.logits(ops, t, model.predictor, ops.index(q[of]), ctx))

    batch = logits(slice(0, 3))
    for n in range(3):
        assert np.array_equal(batch[n : n + 1], logits(slice(n, n + 1)))
