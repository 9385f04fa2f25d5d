"""The options and number types that commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FILES = click.Path(path_type=Path)  # existence is checked file by file, with the codec's own exit codes

device = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
force = click.option("--force", is_flag=True, help="Overwrite existing files.")
quiet = click.option("--quiet", is_flag=True, help="Print errors only.")


def number(low: float, high: float, *, open_low: bool = False) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback that accepts finite numbers in a range; click's own range type lets nan through."""

    def check(_ctx: click.Context, _param: click.Parameter, value: float) -> float:
        if not math.isfinite(value) or not low <= value <= high or (open_low and value == low):
            bounds = f"above {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
            raise click.BadParameter(f"{value:g} is not a number {bounds}.")
        return value

    return check
