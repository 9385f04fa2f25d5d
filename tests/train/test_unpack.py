"""A bundle's checkpoints lead back to the bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load as load_arrays

from hflow import bundles
from hflow.train.release import build
from hflow.train.unpack import unpack


def test_releasing_what_was_unpacked_gives_the_same_bundle(tiny_models: Path) -> None:
    parts = unpack(tiny_models / "tiny")
    arrays, _, _ = build(parts["joint"], parts["latent"], parts["predictor"], small=True)
    before = load_arrays(bundles.weights(tiny_models / "tiny"))
    assert arrays.keys() == before.keys()
    for name, value in before.items():
        if name.startswith("int."):
            assert np.array_equal(arrays[name], value), name
        elif not name.endswith(".scale"):
            assert np.allclose(arrays[name].astype(float), value.astype(float), atol=1), name
