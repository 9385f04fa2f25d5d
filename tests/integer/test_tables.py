"""The constant tables that encoder and decoder share."""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path

import numpy as np
import pytest

from hflow.integer import scales as S


@pytest.mark.parametrize("scales", S.TABLE_BITS)
def test_latent_tables_are_frequency_tables(scales: int) -> None:
    tables = np.array(S.latent_tables(scales))
    assert tables.shape == (scales * 2**S.MEAN, 32)
    assert (tables >= 1).all()
    assert (tables.sum(1) == 2 ** S.TABLE_BITS[scales]).all()


@pytest.mark.parametrize("scales", S.TABLE_BITS)
def test_latent_tables_follow_the_mean_and_widen_with_the_scale(scales: int) -> None:
    tables = np.array(S.latent_tables(scales)).reshape(scales, 2**S.MEAN, 32)[..., :31]
    total = 2 ** S.TABLE_BITS[scales]
    values, p = np.arange(-15, 16), tables / tables.sum(-1, keepdims=True)
    mean = (p * values).sum(-1)
    spread = np.sqrt((p * (values - mean[..., None]) ** 2).sum(-1))
    narrower = scales - 40  # than the coarser tables have: next to nothing is anywhere but in the middle
    towards = np.diff(mean[: narrower + 20], axis=1)
    assert (towards[narrower:] > 0).all()  # towards the next integer; wider ones are cut off at 15
    assert (towards >= 0).all()
    assert (np.diff(spread[narrower:, 0]) > 0).all()
    assert (np.diff(spread[:, 0]) >= 0).all()
    assert (tables[:, 0] - tables[:, 0, ::-1] <= 1 + (values == 0) * total).all()  # symmetric about a mean of zero
    assert tables[0, 0, 15] > 0.999 * total  # a latent that is surely zero costs next to nothing
    assert spread[-1, 0] > 7


def test_the_finer_tables_go_on_from_the_others() -> None:
    """A scale is the same under both, and what is surely zero costs less."""
    coarse, fine = (np.array(S.latent_tables(n)) for n in (40, 48))
    p, q = coarse / 2**16, fine[64:] / 2**24
    assert np.abs(p - q).max() < 33 / 2**16
    sure = [float(-np.log2(t[0, 15] / t[0].sum())) for t in (coarse, fine)]
    assert sure[1] < 0.01 * sure[0]


def test_gelu_is_gelu_in_fixed_point() -> None:
    got, unit = np.array(S.gelu_table()), 2**S.ACT
    assert got.shape == (256,)
    real = np.array([v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in np.arange(-128, 128) / unit])
    assert np.abs(got / unit - real).max() <= 0.5 / unit
    assert got[128] == 0


def test_squash_is_odd_and_keeps_small_latents_apart() -> None:
    got = np.array(S.squash_table())
    assert got.shape == (256,)
    assert (got[1:] == -got[:0:-1]).all()
    assert (np.diff(got[1:]) >= 0).all()
    assert len(set(got[128 - 8 : 128 + 9])) == 17
    assert np.abs(got).max() <= 127


def test_powers_of_two_halve_by_the_octave() -> None:
    weights, exp2 = np.array(S.attention_table()), np.array(S.exp2_table())
    assert (weights.shape, weights[0], exp2.shape, exp2[0]) == ((256,), 255, (512,), 2**15)
    assert (np.diff(weights) <= 0).all()
    assert (np.diff(exp2) <= 0).all()
    assert np.abs(weights[: -S.OCTAVE] / 2 - weights[S.OCTAVE :]).max() <= 0.75
    assert np.abs(exp2[: -(2**S.LOGIT)] / 2 - exp2[2**S.LOGIT :]).max() <= 0.75
    assert (weights[-1], exp2[-1]) == (0, 1)  # far keys weigh nothing, far symbols still something


@pytest.mark.parametrize("name", ["GELU", "SQUASH", "WEIGHT", "EXP2", "POWER", "LATENT40", "LATENT48"])
def test_tables_are_those_of_the_specification(name: str) -> None:
    """Every entry: a decoder written from the document alone must read our files."""
    text = (Path(__file__).parents[2] / "formats" / "integer.md").read_text("utf-8")
    found = re.search(rf"^\| {name} \|.*\| `([0-9a-f]{{64}})` \|$", text, re.M)
    assert found
    table = {
        "GELU": S.gelu_table, "SQUASH": S.squash_table, "WEIGHT": S.attention_table, "EXP2": S.exp2_table,
        "POWER": S.power_table, "LATENT40": lambda: S.latent_tables(40), "LATENT48": lambda: S.latent_tables(48),
    }[name]()  # fmt: skip
    assert hashlib.sha256(np.array(table, dtype="<i4").tobytes()).hexdigest() == found[1]
