"""A progress bar on stderr: only on a terminal, and only where there is something to wait for."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

LARGE = 2_000_000  # pixels


class Bar:
    """One bar for a batch, and its count. Used as a context, it leaves the terminal clean however the batch ends.

    Files may run side by side: `watch` is called in their threads, everything else where the batch is.
    """

    def __init__(self, files: int, quiet: bool) -> None:
        self.files = files
        self.allowed = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self.progress: Progress | None = None
        self.running: dict[str, float] = {}  # the share done of each file that is not counted yet
        self.lock = threading.RLock()
        self.done = self.failed = self.pixels = 0
        self.bpp = 0.0  # the sum over the files done
        self.started = time.perf_counter()

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.allowed = False
            if self.progress:
                self.progress.stop()

    def watch(self, name: str, pixels: int, slow: bool = False) -> Callable[[float], None] | None:
        """What to call with the fraction done of a file that begins; None where no bar is shown.

        slow: there is something to wait for, however small the picture.
        """
        with self.lock:
            if not self.allowed or (self.files == 1 and pixels < LARGE and not slow):
                return None
            self.progress = self.progress or _new(self.files)
            self.show(name, 0.0)
            self.progress.start()
        return lambda fraction: self.show(name, fraction)

    def show(self, name: str, fraction: float) -> None:
        """Move the bar: this file has come so far."""
        with self.lock:
            begins = name not in self.running
            self.running[name] = fraction
            self._update(**({"description": name} if begins else {}))

    def say(self, name: str, text: str) -> None:
        """Something about a file that is under way."""
        with self.lock:
            self._update(description=f"{name}  {text}")

    def count(self, name: str, pixels: int, bpp: float) -> None:
        """A file is done: its pixels and bits per pixel."""
        with self.lock:
            self.done, self.pixels, self.bpp = self.done + 1, self.pixels + pixels, self.bpp + bpp
            self._finish(name)

    def fail(self, name: str) -> None:
        """A file could not be done."""
        with self.lock:
            self.failed += 1
            self._finish(name)

    def _finish(self, name: str) -> None:
        self.running.pop(name, None)
        self._update()

    def _update(self, **fields: Any) -> None:
        if self.progress:
            completed = self.done + self.failed + sum(self.running.values())
            self.progress.update(self.progress.task_ids[0], completed=completed, pace=self.pace, **fields)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Room for lines of text; the bar comes back below them while files are left."""
        with self.lock:
            if self.progress:
                self.progress.stop()
            yield
            if self.progress and self.done + self.failed < self.files:
                self.progress.start()

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
    progress = Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    )
    progress.add_task("", total=files, pace="")
    return progress
