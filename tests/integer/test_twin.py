"""The trainable twins: the same numbers as what ships, and gradients everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_bundle import NET, SIZE
from torch import Tensor, nn

from hflow.integer import scales as S
from hflow.integer.export import export
from hflow.integer.params import tree
from hflow.integer.reference import NumpyOps
from hflow.integer.twin import QLinear, QTable, TwinOps, round_ste
from hflow.nets import continuous as C
from hflow.nets import predictor as P
from hflow.nets.config import NetConfig
from hflow.train.latent import LatentModel

CFG = NetConfig.of(NET)
EXACT, TWIN = NumpyOps(), TwinOps(bf16=False)


def randomized(module: nn.Module) -> Any:
    """`module` as after some training: nothing is zero any more."""
    with torch.no_grad():
        for p in module.parameters():
            if not p.any():
                p.normal_(0, 0.3)
    return module


@pytest.fixture
def predictor() -> P.PredictorTwin:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return randomized(P.PredictorTwin(CFG, P.PredictorConfig.of(SIZE)))


@pytest.fixture
def entropy_model() -> LatentModel:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return randomized(LatentModel(CFG))


def latents(h: int, w: int, n: int = 2) -> np.ndarray:
    return np.rint(np.random.default_rng(0).laplace(0, 3, (n, h, w, CFG.latent))).astype(np.int64)


def tokens(h: int, w: int, n: int = 2) -> np.ndarray:
    return np.random.default_rng(1).integers(0, CFG.codewords + 2, (n, h, w, CFG.m_max))


def compare(exact: np.ndarray, twin: Tensor) -> tuple[float, float]:
    """Share of equal integers, and the largest difference."""
    other = twin.detach().numpy()
    assert other.shape == exact.shape
    assert (other == np.round(other)).all()
    return float((other == exact).mean()), float(np.abs(other - exact).max())


def test_context_features_match_what_ships(predictor: P.PredictorTwin) -> None:
    shipped = tree(export(predictor)[0], EXACT.const)
    y, anchor = latents(5, 6), np.array([1, CFG.rates])
    exact = P.context(EXACT, C.tables(EXACT), shipped, y, anchor)
    twin = P.context(TWIN, C.tables(TWIN), predictor, torch.from_numpy(y).float(), torch.from_numpy(anchor))
    assert len(np.unique(exact)) > 20
    same, worst = compare(exact, twin)
    assert same >= 0.95
    assert worst <= 1


def test_logits_match_what_ships(predictor: P.PredictorTwin) -> None:
    shipped = tree(export(predictor)[0], EXACT.const)
    y, q, anchor = latents(3, 5), tokens(6, 10), np.array([0, 2])
    ctx = P.context(EXACT, C.tables(EXACT), shipped, y, anchor)
    exact = P.logits(EXACT, C.tables(EXACT), shipped, q, ctx)
    t = C.tables(TWIN)
    ctx2 = P.context(TWIN, t, predictor, torch.from_numpy(y).float(), torch.from_numpy(anchor))
    twin = P.logits(TWIN, t, predictor, torch.from_numpy(q), ctx2).detach().numpy()
    assert exact.shape == twin.shape == (2, 6, 10, CFG.m_max, CFG.codewords)
    assert exact.std() > 10
    assert np.abs(twin - exact).mean() < 0.05 * exact.std()  # soft attention rounds otherwise, by a unit here and there


def test_entropy_parameters_match_what_ships(entropy_model: LatentModel) -> None:
    twin, y, anchor = entropy_model.twin, latents(6, 5), np.array([0, 3])
    shipped = tree(export(twin)[0], EXACT.const)
    z = np.random.default_rng(2).integers(-3, 4, (2, 2, 2, CFG.hyper))
    results = []
    for ops, p in ((EXACT, shipped), (TWIN, twin)):
        t, at = C.tables(ops), ops.index(anchor)
        out = list(C.hyper_prior(ops, p, at, CFG.scales))
        hyper = C.hyper_features(ops, t, p, ops.const(z), at, 6, 5)
        offsets = np.cumsum([0, *CFG.slices])

        def fill(s: int, turn: int, mask: np.ndarray, mean: Any, scale: Any, ops=ops, out=out, at=offsets) -> Any:
            out.extend([mean, scale])
            return ops.const(y[..., at[s] : at[s + 1]])

        slices = list(C.walk(ops, t, p, hyper, CFG, fill))
        assert (ops.numpy(ops.cat(slices).detach() if ops is TWIN else ops.cat(slices)) == y).all()
        results.append([hyper, *out])
    assert len(results[0]) == 3 + 2 * sum(CFG.turns)
    for exact, other in zip(*results, strict=True):
        same, worst = compare(exact, other)
        assert same >= 0.95
        assert worst <= 2
    scales = np.concatenate([x.ravel() for x in results[0][2::2]])
    assert scales.min() >= 0
    assert scales.max() < CFG.scales


@pytest.mark.parametrize("bf16", [False, True])
def test_gradients_reach_every_parameter(predictor: P.PredictorTwin, entropy_model: LatentModel, bf16: bool) -> None:
    ops = TwinOps(bf16=bf16)
    t, y, rng = C.tables(ops), torch.from_numpy(latents(6, 8, 4)).float(), np.random.default_rng(3)
    # Every row of every table has to be in use for every parameter to be told anything.
    q = torch.from_numpy(np.resize(rng.permutation(CFG.codewords + 2), (4, 12, 16, CFG.m_max)))
    anchor = torch.arange(4) % CFG.rates
    out = P.logits(ops, t, predictor, q, P.context(ops, t, predictor, y, anchor))
    out.log_softmax(-1)[..., 7].mean().backward()
    sum(entropy_model(ops, y, torch.tensor([0, 20, 40, 63]))).mean().backward()
    for model in (predictor, entropy_model):
        for name, p in model.named_parameters():
            assert p.grad is not None, name
            assert torch.isfinite(p.grad).all(), name
            assert p.grad.any(), name


def test_twins_see_the_integers_that_are_stored() -> None:
    one, rows = QLinear(40, 8, S.ACT), QTable(5, 6, S.RES, 0.4)
    with torch.no_grad():
        one.w[0, :3] = torch.tensor([100.0, -100.0, 0.3])
        one.b.normal_()
        rows.t[0, 0], rows.t[0, 1] = 1e4, -1e4
    flat, _ = export(nn.ModuleDict({"one": one, "rows": rows}))
    for name, twin in (("one.weight", one.weight), ("one.bias", one.bias), ("rows.rows", rows.rows)):
        assert (flat[name] == twin.detach().numpy()).all()
    assert flat["one.weight"][0, :2].tolist() == [127, -127]
    assert flat["rows.rows"][0, :2].tolist() == [S.RES_MAX, -S.RES_MAX]
    assert np.abs(flat["one.weight"][1:] / 2.0**one.w_bits - one.w.detach().numpy()[1:]).max() <= 0.5 / 2**one.w_bits


def test_rounding_is_half_up_and_passes_the_gradient() -> None:
    x = torch.tensor([-1.5, -0.5, 0.5, 1.4], requires_grad=True)
    y = round_ste(x)
    (y * torch.arange(4.0)).sum().backward()
    assert y.tolist() == [-1, 0, 1, 1]
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 2, 3]
