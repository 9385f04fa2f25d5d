"""The options that trade time for quality, and stopping early: the best file so far is kept."""

from __future__ import annotations

import re
import signal
import threading
from types import FrameType
from typing import Any

import click

HIGHEST = 9
TUNES = ("psnr", "balanced", "perceptual")


class TimeType(click.ParamType):
    """A time: `20`, `20s`, `1.5m`, in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min)?", value.strip())
        if found is None:
            self.fail(f"{value!r} is not a time such as 20s or 1.5m.", param, ctx)
        return float(found[1]) * (60 if found[2] in ("m", "min") else 1)


effort = click.option(
    "--effort", type=click.IntRange(0, HIGHEST), default=0, show_default=True,
    help="How long to search for a better file of the same size. Ctrl-C keeps the best one so far.",
)  # fmt: skip
tune = click.option(
    "--tune", type=click.Choice(TUNES), default="balanced", show_default=True, help="What that search is for."
)
time_limit = click.option("--time-limit", type=TimeType(), help="End the search after this time: 20s, 1.5m.")


class Patience:
    """Ctrl-C while files are searched for: the first ends the searches, and no other begins; the second ends all."""

    def __init__(self, active: bool) -> None:
        self.active = active and threading.current_thread() is threading.main_thread()
        self.over = False

    def __enter__(self) -> Patience:
        if self.active:
            self.before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        if self.active:
            signal.signal(signal.SIGINT, self.before)

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        if self.over:
            raise KeyboardInterrupt
        self.over = True

    def begin(self) -> None:
        """A file begins: KeyboardInterrupt if Ctrl-C was pressed before it."""
        if self.over:
            raise KeyboardInterrupt
