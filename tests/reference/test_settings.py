"""The conformance files under what a program around hflow may have set in torch: the same indices, the same pixels."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from hflow import selftest
from hflow.container import parse
from hflow.integer.reference import NumpyOps
from hflow.nets import bundle
from hflow.selftest import searched

FOLDER = selftest.folder()
FILES = json.loads((FOLDER / "manifest.json").read_text("utf-8"))["decoded"]
FEW = [e for e in FILES if e["file"] in ("mask_1_4.hfc", "cut_chunked.hfc", "pq_1_2.hfc")]

SETTINGS: dict[str, tuple[Callable[[Any], object], Any, Any]] = {
    "matmul high": (torch.set_float32_matmul_precision, "high", "highest"),
    "matmul medium": (torch.set_float32_matmul_precision, "medium", "highest"),
    "deterministic": (torch.use_deterministic_algorithms, True, False),
    "default float64": (torch.set_default_dtype, torch.float64, torch.float32),
    "default bfloat16": (torch.set_default_dtype, torch.bfloat16, torch.float32),
    "default float16": (torch.set_default_dtype, torch.float16, torch.float32),
    "oneDNN off": (torch.backends.mkldnn.set_flags, False, True),
    "2 threads": (torch.set_num_threads, 2, 1),
    "5 threads": (torch.set_num_threads, 5, 1),
}


@pytest.fixture(params=SETTINGS)
def files(request: pytest.FixtureRequest) -> Iterator[list[dict[str, Any]]]:
    """Applies a setting; yields the files to decode under it. The bundle, too, is loaded under it."""
    change, value, before = SETTINGS[request.param]
    bundle._load.cache_clear()
    change(value)
    # On a busy machine threads wait for each other at every tiny layer: a few files have to do.
    yield FEW if "threads" in request.param else FILES
    change(before)
    bundle._load.cache_clear()


def test_torch_may_be_set_up_in_any_way(files: list[dict[str, Any]]) -> None:
    with searched(FOLDER):
        found = [selftest.decoded(e, (FOLDER / "decoded" / e["file"]).read_bytes(), "cpu") for e in files]
    assert [(r.file, r.wrong) for r in found if r.wrong or not r.exact] == []


def test_plain_integers_instead_of_torch() -> None:
    """The decoder's own code, over numpy's int64."""
    from hflow.codec.decode import indices

    for entry in FILES:
        model = bundle.load(FOLDER / entry["bundle"], "cpu", NumpyOps())
        found = indices(model, parse((FOLDER / "decoded" / entry["file"]).read_bytes()))
        assert selftest.sha256_of(model, found) == entry["sha256"], entry["file"]
