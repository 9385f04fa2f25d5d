"""The fast operations against the reference, bit for bit, and the reference against what each operation promises."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hflow.integer import scales as S
from hflow.integer.fast import TorchOps
from hflow.integer.reference import NumpyOps

Results = list[Any]
LARGEST_K = 1032  # inputs of -128 with weights of 127: 1,032 products stay below 2^24, one more does not
EXACT, FAST = NumpyOps(), TorchOps()


def rng() -> np.random.Generator:
    return np.random.default_rng(20240)


def int8(*shape: int) -> np.ndarray:
    return rng().integers(-128, 128, shape)


def weights(n: int, k: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-127, 128, (n, k))


def layer(ops: Any, weight: Any, bias: Any) -> SimpleNamespace:
    return SimpleNamespace(weight=ops.const(weight), bias=ops.const(bias))


def const(ops: Any) -> Results:
    return [ops.const([[0, -128], [127, 2**24 - 1]]), ops.const(np.full((2, 3), -(2**24) + 1))]


def index(ops: Any) -> Results:
    return [ops.index([0, 3, 2**31 + 1]), ops.index(np.zeros((0,), int))]


def to_numpy(ops: Any) -> Results:
    return [ops.numpy(ops.const([[2**24 - 1, -(2**24) + 1, 0]])), ops.numpy(ops.index([5]))]


def permute(ops: Any) -> Results:
    return [ops.permute(ops.const(int8(2, 3, 4, 5)), (0, 3, 1, 2)), ops.permute(ops.const(int8(4, 3)), (1, 0))]


def cat(ops: Any) -> Results:
    a, b = ops.const(int8(2, 3, 4, 5)), ops.const(int8(2, 3, 4, 1))
    return [ops.cat([a, b, a]), ops.cat([b])]


def stack(ops: Any) -> Results:
    a, b = ops.const(int8(2, 3, 4, 5)), ops.const(int8(1, 3, 4, 5))
    return [ops.stack([a, b, a]), ops.stack([b])]


def pad(ops: Any) -> Results:
    x = ops.const(int8(2, 3, 4, 5))
    return [ops.pad(x, 1, 1, 1, 1), ops.pad(x, 4, 1, 0, 2), ops.pad(x, 0, 0, 0, 0)]


def tile(ops: Any) -> Results:
    return [ops.tile(ops.const(int8(2, 3, 4, 5)), 3), ops.tile(ops.const(int8(2, 1, 1, 4)), 1)]


def where(ops: Any) -> Results:
    a, b = ops.const(int8(1, 4, 4, 3)), ops.const(-int8(1, 4, 4, 3))
    mask = ops.const(np.indices((4, 4)).sum(0)[None, :, :, None] % 2)
    return [ops.where(mask, a, b), ops.where(mask * 0, a, b)]


def linear(ops: Any) -> Results:
    out = []
    for rows, k, n in ((1, 1, 1), (64, 384, 160), (257, 864, 128), (300, LARGEST_K, 64)):
        bias = rng().integers(-500, 500, n)
        out.append(ops.linear(ops.const(int8(rows, k)), layer(ops, weights(n, k), bias)))
    # The largest sums there are: 2^24 - 1 and its negative.
    for sign in (1, -1):
        w, b = np.full((3, LARGEST_K), -127 * sign), np.full(3, sign * (2**24 - 1 - LARGEST_K * 127 * 128))
        x = np.full((2, 5, LARGEST_K), -128)
        out.append(ops.linear(ops.const(x), layer(ops, w, b)))
    # Sums that nearly cancel, on the way past the largest.
    half = np.where(np.arange(LARGEST_K) < LARGEST_K // 2, 127, -127)
    x = np.full((4, LARGEST_K), -128)
    x[1:, 3], x[2:, -1], x[3:, 500:520] = 1, 127, int8(1, 20)
    out.append(ops.linear(ops.const(x), layer(ops, np.stack([half, -half, half[::-1]]), [1, 0, -1])))
    return out


def conv3(ops: Any) -> Results:
    out = []
    for h, w, c, n in ((1, 1, 1, 1), (1, 7, 3, 2), (5, 4, 96, 32), (9, 11, 112, 40)):
        p = layer(ops, weights(n, 9 * c), rng().integers(-9, 9, n))
        out += [ops.conv3(ops.const(int8(2, h, w, c)), p), ops.conv3(ops.const(np.full((1, h, w, c), -128)), p)]
    return out


def shift(ops: Any) -> Results:
    out = []
    for bits in (0, 1, 3, 6, 8, 13):
        top = 2**24 - 2 ** (bits + 1)
        edge = np.arange(-70, 70) * 2**bits // 2
        x = ops.const(np.concatenate([edge, edge + 1, rng().integers(-top, top, 500), [top, -top, top - 1, 1 - top]]))
        out += [ops.shift(x, bits, limit) for limit in (127, 19, 2**10, S.RES_MAX, 2**20)]
    return [*out, ops.shift(ops.const([-3, -1, 0, 1, 5]), -2, 127), ops.shift(ops.const([9, -9]), -4, 127)]


def add(ops: Any) -> Results:
    edge = np.array([-(2**15), -(2**15) + 1, -1, 0, 1, 2**15 - 2, 2**15 - 1])
    x, y = np.meshgrid(edge, edge)
    return [ops.add(ops.const(x), ops.const(y)), ops.add(ops.const(int8(2, 3, 4)), ops.const(int8(1, 1, 4)))]


def table(ops: Any) -> Results:
    x = ops.const(np.concatenate([np.arange(-300, 300), [2**24 - 1, -(2**24) + 1]]))
    return [ops.table(x, ops.const(t)) for t in (S.gelu_table(), S.squash_table(), np.arange(-128, 128))]


def embed(ops: Any) -> Results:
    t = ops.const(rng().integers(-S.RES_MAX, S.RES_MAX, (258, 12)))
    return [ops.embed(t, ops.index([[0, 257], [5, 5]])), ops.embed(t, ops.index([3]))]


def squares(total: int, channels: int) -> list[int]:
    """`channels` integers below 2^15 whose squares sum to `total`."""
    out: list[int] = []
    for _ in range(channels):
        out.append(min(isqrt(total), S.RES_MAX))
        total -= out[-1] ** 2
    assert total == 0
    return out


def norm(ops: Any) -> Results:
    out = [ops.norm(ops.const(np.zeros((2, 3, 160)))), ops.norm(ops.const(rng().integers(-(2**15), 2**15, (40, 160))))]
    for c in (1, 4, 32, 160):
        one = np.zeros((6, c))
        one[:, c // 2] = [2**15 - 1, -(2**15), 1, -1, 2, 100]
        same = np.outer([2**15 - 1, -(2**15), 1, -1, 5], np.ones(c))
        out += [ops.norm(ops.const(x)) for x in (one, same, rng().integers(-9, 9, (50, c)))]
    # The sum of squares plus C just below, at and just above a perfect square.
    roots = [13, 14, 100, 181, 4095, 4096, 46341, 65535, 65536, 131072, 180000]
    near = [squares(r * r + d - 40, 40) for r in roots for d in (-1, 0, 1)]
    return [*out, ops.norm(ops.const(near))]


def attention(ops: Any) -> Results:
    t, g, out = ops.const(S.attention_table()), rng(), []
    for b, heads, n, k, d in ((3, 2, 64, 64, 32), (2, 5, 64, 16, 16), (1, 1, 1, 1, 4)):
        q, kk, v = (g.integers(-128, 128, (b, heads, m, d)) for m in (n, k, k))
        bias = g.integers(-200, 200, (heads, n, k))
        some = g.integers(0, 2, (b, 1, 1, k))
        single = np.zeros((b, 1, 1, k))
        single[..., k // 2] = 1
        for valid in (np.ones((b, 1, 1, k)), some, single, np.zeros((b, 1, 1, k))):
            args = (ops.const(x) for x in (q, kk, v, bias, valid))
            out.append(ops.attention(*args, t))
    # All scores equal, and all at the ends of their range, with the largest bias that a table can hold.
    ends = np.full((1, 1, 64, 32), -128)
    wide = np.where(np.arange(64) % 2, S.RES_MAX, -S.RES_MAX)[None, None] * np.ones((1, 64, 1))
    for x, y, bias in ((0, -128, 0), (-128, 127, 0), (-128, -128, wide), (127, -128, -wide)):
        v = np.full_like(ends, y) + (np.arange(64) == 9)[:, None]
        args = (ops.const(z) for z in (ends * 0 + x, ends, v, np.zeros((1, 64, 64)) + bias, np.ones((1, 1, 1, 64))))
        out.append(ops.attention(*args, t))
    return out


def grid_mean(ops: Any) -> Results:
    x = int8(2, 13, 17, 8)
    full = [np.full((1, 300, 301, 2), v) for v in (-128, 127)]
    halves = np.array([[1, 0], [-1, 0]]).reshape(2, 1, 2, 1)
    return [ops.grid_mean(ops.const(v)) for v in (x, x[:, :1, :1], *full, halves)]


def logits_like() -> list[np.ndarray]:
    """Logits with ties, with one winner, with the whole range, and such that the table's end is passed."""
    g = rng()
    first = np.zeros((1, 256))
    first[:, 77] = S.RES_MAX
    return [
        g.integers(-300, 300, (50, 3, 256)),
        g.integers(-(2**15), 2**15, (20, 256)),
        g.integers(0, 2, (20, 256)),
        np.full((2, 256), -(2**15)),
        np.arange(-512, 512).reshape(4, 256),
        first,
        -first,
        g.integers(-9, 9, (4, 2)),
        np.zeros((1, 3)),
    ]


def frequencies(ops: Any) -> Results:
    return [ops.frequencies(ops.const(x), ops.const(S.exp2_table())) for x in logits_like()]


def argmax(ops: Any) -> Results:
    return [ops.argmax(ops.const(x)) for x in logits_like()]


CASES: dict[str, Callable[[Any], Results]] = {
    "const": const, "index": index, "numpy": to_numpy, "permute": permute, "cat": cat, "stack": stack, "pad": pad,
    "tile": tile, "where": where, "linear": linear, "conv3": conv3, "shift": shift, "add": add, "table": table,
    "embed": embed, "norm": norm, "attention": attention, "grid_mean": grid_mean,
    "frequencies": frequencies, "argmax": argmax,
}  # fmt: skip


def assert_same(exact: np.ndarray, fast: Any) -> None:
    assert exact.dtype == np.int64
    fast = fast.numpy() if isinstance(fast, torch.Tensor) else fast
    assert fast.shape == exact.shape
    np.testing.assert_array_equal(fast.astype(np.float64), exact.astype(np.float64))


def test_no_operation_is_left_out() -> None:
    assert set(CASES) == {name for name in dir(NumpyOps) if not name.startswith("_")}


@pytest.mark.parametrize("name", CASES)
def test_fast_equals_reference(name: str, arithmetic: None) -> None:
    for exact, fast in zip(CASES[name](EXACT), CASES[name](FAST), strict=True):
        assert_same(exact, fast)


def test_linear_and_conv_are_plain_sums() -> None:
    x, w, b = int8(1, 3, 4, 2), weights(3, 18), np.array([5, -5, 0])
    got = EXACT.conv3(x, layer(EXACT, w, b))
    for r, c, n in np.ndindex(3, 4, 3):
        total = int(b[n])
        for i, j, k in np.ndindex(3, 3, 2):
            if 0 <= r + i - 1 < 3 and 0 <= c + j - 1 < 4:
                total += int(x[0, r + i - 1, c + j - 1, k]) * int(w[n, 6 * i + 2 * j + k])
        assert got[0, r, c, n] == total
    # The bound of export's proof: as much as this, exactly, and not one more.
    ones = layer(EXACT, np.full((1, LARGEST_K), -127), np.zeros(1, int))
    assert EXACT.linear(np.full(LARGEST_K, -128), ones)[0] == LARGEST_K * 127 * 128
    assert LARGEST_K * 127 * 128 < S.ACC_LIMIT < (LARGEST_K + 1) * 127 * 128


@pytest.mark.parametrize("ops", [EXACT, FAST], ids=["reference", "fast"])
class TestDefinitions:
    """Values worked out by hand."""

    def test_shift_rounds_half_up_and_floors_below_zero(self, ops: Any) -> None:
        x = ops.const([-8, -7, -6, -5, -3, -2, -1, 0, 1, 2, 3, 5, 6])
        assert ops.numpy(ops.shift(x, 2, 127)).tolist() == [-2, -2, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 2]
        assert ops.numpy(ops.shift(x, 0, 4)).tolist() == [-5, -5, -5, -5, -3, -2, -1, 0, 1, 2, 3, 4, 4]
        assert ops.numpy(ops.shift(ops.const([-3, 3]), -2, 127)).tolist() == [-12, 12]

    def test_sums_stay_in_16_bits(self, ops: Any) -> None:
        x, y = ops.const([32767, -32768, 32767]), ops.const([1, -1, -32768])
        assert ops.numpy(ops.add(x, y)).tolist() == [32767, -32768, -1]

    def test_table_clamps(self, ops: Any) -> None:
        x = ops.const([-1000, -128, -1, 0, 127, 128, 70000])
        got = ops.numpy(ops.table(x, ops.const(np.arange(-128, 128) * 2)))
        assert got.tolist() == [-256, -256, -2, 0, 254, 254, 254]

    def test_norm(self, ops: Any) -> None:
        unit = 2**S.NORM
        assert not ops.numpy(ops.norm(ops.const(np.zeros((1, 8))))).any()
        same = ops.numpy(ops.norm(ops.const([[5000] * 8, [-5000] * 8])))
        assert (same == np.array([[unit], [-unit]])).all()
        one = ops.numpy(ops.norm(ops.const([[0, 32767, 0, 0]])))
        assert one.tolist() == [[0, 2 * unit, 0, 0]]
        many = np.zeros((2, 160))
        many[:, 3] = 32767, -32768
        assert ops.numpy(ops.norm(ops.const(many)))[:, 3].tolist() == [127, -128]

    def test_attention_with_one_valid_key_copies_its_value(self, ops: Any) -> None:
        q, k, v = (ops.const(int8(1, 1, 8, 4)) for _ in range(3))
        valid = np.zeros((1, 1, 1, 8))
        valid[..., 5] = 1
        bias = np.full((1, 8, 8), 3000)
        bias[..., 5] = -3000  # what is not valid has no say, however large its score
        got = ops.attention(q, k, v, ops.const(bias), ops.const(valid), ops.const(S.attention_table()))
        assert (ops.numpy(got) == ops.numpy(v)[:, :, 5:6]).all()

    def test_attention_averages_equals_and_rounds_half_up(self, ops: Any) -> None:
        zero = np.zeros((1, 1, 2, 4))
        v = np.array([[[[3, -3, 127, -128], [4, -4, 127, -128]]]])
        args = (ops.const(x) for x in (zero, zero, v, np.zeros((1, 2, 2)), np.ones((1, 1, 1, 2))))
        got = ops.numpy(ops.attention(*args, ops.const(S.attention_table())))
        assert got.tolist() == [[[[4, -3, 127, -128]] * 2]]

    def test_mean_rounds_half_up(self, ops: Any) -> None:
        x = np.array([[1, 0], [-1, 0], [-3, 0], [7, 8]]).reshape(4, 1, 2, 1)
        assert ops.numpy(ops.grid_mean(ops.const(x))).ravel().tolist() == [1, 0, -1, 8]

    def test_the_first_of_equals_wins_and_takes_the_rest(self, ops: Any) -> None:
        x = ops.const([[0, 4, 4], [4, 4, 4], [-9, -9, -8]])
        assert ops.numpy(ops.argmax(x)).tolist() == [1, 0, 2]
        even = ops.numpy(ops.frequencies(ops.const([[7, 7, 7]]), ops.const(S.exp2_table())))
        assert even.tolist() == [[21846, 21845, 21845]]

    def test_an_octave_is_half_the_probability(self, ops: Any) -> None:
        x = ops.const([[0, -(2**S.LOGIT), -40000]])
        got = ops.numpy(ops.frequencies(x, ops.const(S.exp2_table())))[0]
        assert got[2] <= 2
        assert abs(got[0] / got[1] - 2) < 1e-3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=7, max_size=7), min_size=1, max_size=4))
def test_any_logits_make_a_table(rows: list[list[int]]) -> None:
    exact = EXACT.frequencies(np.array(rows), EXACT.const(S.exp2_table()))
    assert (exact >= 1).all()
    assert (exact.sum(-1) == 2**S.FREQ_BITS).all()
    assert (exact[np.arange(len(rows)), np.argmax(rows, -1)] == exact.max(-1)).all()
    assert_same(exact, FAST.frequencies(FAST.const(rows), FAST.const(S.exp2_table())))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=40))
def test_any_vector_is_normalised_alike(x: list[int]) -> None:
    exact = EXACT.norm(EXACT.const([x]))
    assert_same(exact, FAST.norm(FAST.const([x])))
    # Against real arithmetic: within rounding of the integer root and of the result.
    real = np.array(x) / np.sqrt(np.square(x, dtype=np.float64).sum() / len(x) + 1) * 2**S.NORM
    assert np.abs(exact[0] - real.clip(-128, 127)).max() <= 0.5 + 0.15 * np.abs(real).max()


@pytest.mark.parametrize("case", range(len(logits_like())))
def test_tables_of_extreme_logits(case: int) -> None:
    got = EXACT.frequencies(EXACT.const(logits_like()[case]), EXACT.const(S.exp2_table()))
    assert got.min() >= 1
    assert (got.sum(-1) == 2**S.FREQ_BITS).all()
