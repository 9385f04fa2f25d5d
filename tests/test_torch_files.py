"""The torch dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_bundle import picture
from torch.utils.data import DataLoader

import hflow
from hflow.errors import FormatError, InputError
from hflow.torch import Files


@pytest.fixture
def folder(tiny_models: Path, tmp_path: Path) -> Path:
    for k, name in enumerate(("b.hfc", "a.hfc", "x/c.hfc")):
        path = tmp_path / "set" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(hflow.encode(picture(70, 50, k), 2.0))
    return tmp_path / "set"


def test_pictures_are_tensors_in_the_order_of_their_paths(folder: Path) -> None:
    files = Files(folder, device="cpu")
    assert [str(p.relative_to(folder)) for p in files.paths] == ["a.hfc", "b.hfc", "x/c.hfc"]
    assert len(files) == 3
    for path, x in zip(files.paths, files, strict=True):
        assert (x.shape, x.dtype, x.device.type) == ((3, 50, 70), torch.float32, "cpu")
        decoded = np.asarray(hflow.decode(path.read_bytes()))
        assert np.array_equal((255 * x).round().byte().permute(1, 2, 0).numpy(), decoded)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_stacks_them(folder: Path, workers: int) -> None:
    files = Files([folder / "b.hfc", folder / "a.hfc"], fidelity=0.5, transform=lambda x: x[:, :32, :32])
    (batch,) = DataLoader(files, batch_size=2, num_workers=workers)
    assert batch.shape == (2, 3, 32, 32)
    assert torch.equal(batch, torch.stack([files[0], files[1]]))
    assert not torch.equal(files[0], Files([folder / "b.hfc"])[0][:, :32, :32])  # fidelity counts


def test_errors_name_the_file(folder: Path) -> None:
    (folder / "a.hfc").write_bytes(b"no")
    with pytest.raises(FormatError, match=r"a\.hfc: "):
        Files(folder)[0]
    with pytest.raises(InputError, match=r"gone\.hfc: No such file"):
        Files([folder / "gone.hfc"])[0]
    with pytest.raises(InputError, match=r"no \.hfc files"):
        Files(folder / "y")
