"""What training leaves behind, as the integers that ship, and the proof that their sums are exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load as load_arrays
from tiny_bundle import NAME
from torch import nn

from hflow import bundles
from hflow.integer import scales as S
from hflow.integer.export import BoundError, bound, export
from hflow.integer.params import tree
from hflow.integer.twin import QLinear, confine


def filled(cin: int, weight: float, bias: float = 0.0) -> nn.ModuleDict:
    layer = QLinear(cin, 4, S.ACT)
    with torch.no_grad():
        layer.w.zero_()
        layer.w[2], layer.b[1] = weight, bias
    return nn.ModuleDict({"inner": layer})


def test_a_layer_that_could_overflow_is_refused() -> None:
    assert export(filled(1000, 100.0))[1]["inner"] >= 1000 * 127 * 128
    with pytest.raises(BoundError, match=r"inner: sums could reach \d+, the limit is 16777216"):
        export(filled(1033, 100.0))
    with pytest.raises(BoundError):
        export(filled(1033, -100.0))
    with pytest.raises(BoundError):
        export(filled(8, 0.0, bias=1e5))
    with pytest.raises(BoundError):
        export(filled(8, 0.0, bias=-1e5))


def test_confined_layers_can_be_exported() -> None:
    twin = filled(3000, 0.0)
    layer = twin["inner"]
    with torch.no_grad():
        layer.w.copy_(torch.randn(4, 3000, generator=torch.Generator().manual_seed(0)) * 0.5)
        layer.w[3] *= 0.05
    calm = layer.weight[3].clone()
    with pytest.raises(BoundError):
        export(twin)
    for _ in range(20):  # as many steps as training takes in a moment
        confine(twin)
    assert export(twin)[1]["inner"] > 0.95 * S.ACC_LIMIT
    assert torch.equal(layer.weight[3], calm)  # what was in bounds stays
    assert layer.w.abs().max() * 2**layer.w_bits <= 127  # and where it is clipped it can still learn


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_a_run_that_diverged_is_not_exported() -> None:
    with pytest.raises(ValueError):
        export(filled(8, float("nan")))


def test_the_bound_is_over_channels_and_both_signs() -> None:
    w = np.array([[1, -2, 3], [-127, 127, -127]], dtype=np.int8)
    assert bound(w, np.array([10**6, -7], dtype=np.int32)) == 10**6 + 6 * 128
    assert bound(w, np.array([0, -7], dtype=np.int32)) == 3 * 127 * 128 + 7


def test_no_input_gets_past_the_bound() -> None:
    rng = np.random.default_rng(0)
    w, b = rng.integers(-127, 128, (5, 30)).astype(np.int8), rng.integers(-999, 999, 5).astype(np.int32)
    worst = np.where(w[:, None] < 0, -128, 127).astype(np.int64)  # each channel's own worst input
    sums = (worst * w[:, None]).sum(-1).ravel() + b
    assert sums.max() <= bound(w, b)
    assert sums.max() > 0.95 * bound(w, b)


def test_stored_parameters_are_small_integers(tiny_models: Path) -> None:
    arrays = load_arrays(bundles.weights(tiny_models / NAME))
    kinds = {"weight": np.int8, "bias": np.int32, "acc_bits": np.int32, "rows": np.int16}
    stored = {name: a for name, a in arrays.items() if name.startswith("int.")}
    assert {name.split(".")[1] for name in stored} == {"latent", "predictor"}
    for name, a in stored.items():
        assert a.dtype == kinds[name.rsplit(".", 1)[-1]], name
        assert a.dtype != np.int8 or a.min() >= -127
    for name, w in stored.items():
        if name.endswith(".weight"):
            assert bound(w, stored[name[: -len("weight")] + "bias"]) < S.ACC_LIMIT
    assert {str(a.dtype) for name, a in arrays.items() if not name.startswith("int.")} <= {"int8", "float16", "float32"}


def test_parameters_keep_their_names() -> None:
    got = tree({"a.b.0.w": np.ones(2), "a.b.1.w": np.zeros(2), "n": np.array(7, dtype=np.int32)}, list)
    assert got.n == 7
    assert isinstance(got.n, int)
    assert (got.a.b[0].w, [part.w for part in got.a.b]) == ([1, 1], [[1, 1], [0, 0]])
    assert len(got.a.b) == 2
