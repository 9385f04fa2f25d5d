"""Decoded `.hfc` files as a torch dataset.

>>> dataset = hflow.torch.Files("photos/")
>>> for batch in DataLoader(dataset, batch_size=16, num_workers=2): ...

A worker process of a DataLoader loads the model once and decodes with one thread: on a CPU as many workers as cores are
sensible. To be stacked, pictures have one size, or a `transform` gives them one. With device="cuda" keep num_workers=0:
processes forked from one that uses a GPU cannot use it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

import hflow
from hflow.errors import HflowError, InputError
from hflow.nets.bundle import pick_device


class Files(Dataset[Any]):
    """Pictures as float tensors (3, H, W) in [0, 1], in the order of `paths`.

    files: a folder, of which every `.hfc` file at any depth counts, sorted by path, or paths. device: where to decode,
    and where the tensors are: cpu, cuda or auto. fidelity: as for `hflow.decode`. transform: what is made of each
    tensor, default itself. InputError for a folder without such files; a file that cannot be read or decoded raises
    hflow's error, with its name, when its turn comes.
    """

    def __init__(
        self,
        files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        device: str = "cpu",
        fidelity: float = 1.0,
        transform: Callable[[Tensor], Any] | None = None,
    ) -> None:
        self.device, self.fidelity, self.transform = device, fidelity, transform
        if isinstance(files, str | os.PathLike):
            self.paths = sorted(Path(files).rglob("*.hfc"))
            if not self.paths:
                raise InputError(f"{files}: no .hfc files in this folder")
        else:
            self.paths = [Path(file) for file in files]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        path = self.paths[index]
        try:
            image = hflow.decode(path.read_bytes(), fidelity=self.fidelity, device=self.device)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        except HflowError as error:
            raise type(error)(f"{path}: {error}") from error
        pixels = torch.from_numpy(np.array(image)).to(pick_device(self.device))
        tensor = pixels.permute(2, 0, 1).float().div(255)
        return tensor if self.transform is None else self.transform(tensor)
