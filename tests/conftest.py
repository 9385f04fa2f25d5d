"""What several folders share: a tiny random bundle, and the arithmetic settings of torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for tiny_bundle.py, in every import mode of pytest

ARITHMETIC = [(threads, precision) for precision in ("highest", "high", "medium") for threads in (1, 2)]


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """One thread: with more, tiny layers wait for each other, for a second a picture on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=ARITHMETIC, ids=lambda p: f"{p[1]}-{p[0]}")
def arithmetic(request: pytest.FixtureRequest, one_thread: None) -> Iterator[None]:
    """Every thread count and matmul precision that a program around hflow may have chosen."""
    import torch

    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(request.param[0])
    torch.set_float32_matmul_precision(request.param[1])
    yield
    torch.set_num_threads(before[0])
    torch.set_float32_matmul_precision(before[1])


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Iterator[Path]:
    """A folder with one bundle of small random networks, which HFLOW_MODELS names for the session."""
    from tiny_bundle import LADDER, NAME, NUMBER, checkpoints

    from hflow.train.release import build, write

    folder = tmp_path_factory.mktemp("models")
    arrays, cfg, bounds = build(*checkpoints(7), small=True)
    write(folder / NAME, arrays, cfg, {"number": NUMBER, "ladder": LADDER, "bounds": bounds})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HFLOW_MODELS", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny(tiny_models: Path) -> Any:
    """The loaded bundle of `tiny_models`."""
    from tiny_bundle import NAME

    from hflow.nets.bundle import load

    return load(tiny_models / NAME)
