"""Integer parameters as a tree with the names of the trained modules: `tree.blocks[2].qkv.weight`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Node:
    """Attribute and index access to a group of parameters."""

    def __getitem__(self, i: int) -> Any:
        return getattr(self, str(i))

    def __len__(self) -> int:
        return sum(k.isdigit() for k in vars(self))

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))


def tree(flat: dict[str, np.ndarray], convert: Callable[[np.ndarray], Any]) -> Any:
    """`{"a.b.weight": array}` to nested nodes; arrays go through `convert`, 0-d ones become ints."""
    root = Node()
    for name, value in flat.items():
        node = root
        *path, last = name.split(".")
        for part in path:
            if not hasattr(node, part):
                setattr(node, part, Node())
            node = getattr(node, part)
        setattr(node, last, int(value) if value.ndim == 0 else convert(value))
    return root
