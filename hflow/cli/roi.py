"""`--roi`: a rectangle or a mask image."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hflow.cli import batch

if TYPE_CHECKING:
    import numpy as np

Rectangle = tuple[int, int, int, int]


class RoiType(click.ParamType):
    """`x,y,width,height` in pixels, or the path of an image."""

    name = "x,y,w,h|mask"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Rectangle | Path:
        if not isinstance(value, str):
            return value
        if re.fullmatch(r"[-+\d\s.,]+", value) is None:
            return Path(value)
        if re.fullmatch(r"\d+(,\d+){3}", value) is None:
            self.fail(f"{value!r} is not x,y,width,height in whole pixels.", param, ctx)
        x, y, width, height = (int(v) for v in value.split(","))
        return x, y, width, height


def load_roi(roi: Rectangle | Path | None) -> Rectangle | np.ndarray | None:
    """What `hflow.encode` takes: a mask image becomes its brightness, 0..1."""
    if not isinstance(roi, Path):
        return roi
    import numpy as np

    from hflow.cli.pictures import load

    return np.asarray(load(batch.read(roi), str(roi))[0].convert("L"), dtype=np.float32) / 255
