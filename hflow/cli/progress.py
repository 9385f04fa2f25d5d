"""A progress bar on stderr: only on a terminal, and only where there is something to wait for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

LARGE = 2_000_000  # pixels


class Bar:
    """One bar for a batch, and its count. Used as a context, it leaves the terminal clean however the batch ends."""

    def __init__(self, files: int, quiet: bool) -> None:
        self.files = files
        self.allowed = not quiet and sys.stderr.isatty()
        self.progress: Progress | None = None
        self.done = self.failed = self.pixels = 0
        self.bpp = 0.0  # the sum over the files done
        self.started = time.perf_counter()

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.hide()

    def watch(self, name: str, pixels: int) -> Callable[[float], None] | None:
        """What to call with the fraction done of the next file; None where no bar is shown."""
        if not self.allowed or (self.files == 1 and pixels < LARGE):
            return None
        progress = self.progress = self.progress or _new(self.files)
        task = progress.task_ids[0] if progress.task_ids else progress.add_task("", total=self.files)
        index = self.done + self.failed
        progress.update(task, completed=index, description=name, pace=self.pace)
        progress.start()
        return lambda fraction: progress.update(task, completed=index + fraction)

    def count(self, pixels: int, bpp: float) -> None:
        """A file is done: its pixels and bits per pixel."""
        self.done, self.pixels, self.bpp = self.done + 1, self.pixels + pixels, self.bpp + bpp
        self.hide()

    def fail(self) -> None:
        """A file could not be done."""
        self.failed += 1
        self.hide()

    @property
    def pace(self) -> str:
        """How fast it goes, and the mean of bits per pixel; nothing before the first file is done."""
        if not self.done:
            return ""
        seconds = time.perf_counter() - self.started
        speed = f"{self.done / seconds:.2f} images/s  {self.pixels / seconds / 1e6:.2f} MP/s"
        return f"{speed}  {self.bpp / self.done:.4f} bpp"

    @property
    def summary(self) -> str:
        """What was done, in a line."""
        mean = f", mean {self.bpp / self.done:.5f} bpp" if self.done else ""
        return f"{self.done} done, {self.pixels / 1e6:.2f} MP{mean}"

    def hide(self) -> None:
        """Make room for a line of text; the next `watch` shows the bar again."""
        if self.progress:
            self.progress.stop()


def _new(files: int) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    share = MofNCompleteColumn() if files > 1 else TaskProgressColumn()
    pace = TextColumn("{task.fields[pace]}", markup=False)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), share, pace, TimeRemainingColumn()
    # Results go to stdout, which may be a file: rich must not draw them into the bar.
    return Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    )
