"""The options and number types that commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import click


class FileType(click.Path):
    """Any path. What is wrong with it is found out where it is used, and said with hflow's own exit codes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return Path(value)


FILES = FileType()

device = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
force = click.option("--force", is_flag=True, help="Overwrite existing files.")
quiet = click.option("--quiet", is_flag=True, help="Print errors only.")


def number(low: float, high: float, *, open_low: bool = False) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback that accepts finite numbers in a range; click's own range type lets nan through."""

    def check(_ctx: click.Context, _param: click.Parameter, value: float | None) -> float | None:
        if value is None:
            return None
        if not math.isfinite(value) or not low <= value <= high or (open_low and value == low):
            bounds = f"above {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
            raise click.BadParameter(f"{value:g} is not a number {bounds}.")
        return value

    return check


class SizeType(click.ParamType):
    """A number of bytes: `500`, `1.5kB`, `2KiB`, or `280chars`, which becomes minus the characters of text."""

    name = "size"
    UNITS: ClassVar = {"": 1, "b": 1, "bytes": 1, "k": 1000, "kb": 1000, "kib": 1024, "mb": 10**6}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", value.strip())
        unit = found[2].lower() if found else "?"
        if found is None or (unit not in self.UNITS and unit not in ("chars", "characters")):
            self.fail(f"{value!r} is not a size such as 500, 1.5kB or 280chars.", param, ctx)
        size = int(float(found[1]) * self.UNITS.get(unit, 1))
        if size < 1:
            self.fail("a size is at least one byte.", param, ctx)
        return size if unit in self.UNITS else -size


bpp = click.option(
    "--bpp", type=float, callback=number(0, math.inf, open_low=True), help="At most so many bits per pixel."
)
size = click.option("--size", type=SizeType(), help="At most so many bytes: 500, 1.5kB, or 280chars as text.")
