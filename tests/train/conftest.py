"""Small tensors, no trace left behind: threads, random state and the signal that ends a run."""

from __future__ import annotations

import io
import signal
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture(autouse=True)
def _contained(one_thread: None) -> Iterator[None]:
    handler, threads = signal.getsignal(signal.SIGTERM), torch.get_num_threads()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def shard(tmp_path: Path) -> Callable[[str, Sequence[np.ndarray]], Path]:
    """shard(name, pictures): a tar file of PNGs in `tmp_path`/data."""

    def write(name: str, pictures: Sequence[np.ndarray]) -> Path:
        path = tmp_path / "data" / name
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for k, picture in enumerate(pictures):
                buffer = io.BytesIO()
                Image.fromarray(picture).save(buffer, "PNG")
                info = tarfile.TarInfo(f"{k:03}.png")
                info.size = len(buffer.getvalue())
                tar.addfile(info, io.BytesIO(buffer.getvalue()))
        return path

    return write
