"""A progress bar on stderr: only on a terminal, and only where there is something to wait for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

LARGE = 2_000_000  # pixels


class Bar:
    """One bar for a batch. Used as a context, it leaves the terminal clean however the batch ends."""

    def __init__(self, files: int, quiet: bool) -> None:
        self.files = files
        self.allowed = not quiet and sys.stderr.isatty()
        self.progress: Progress | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.hide()

    def watch(self, index: int, name: str, pixels: int) -> Callable[[float], None] | None:
        """What to call with the fraction done of file number `index`; None where no bar is shown."""
        if not self.allowed or (self.files == 1 and pixels < LARGE):
            return None
        progress = self.progress = self.progress or _new()
        task = progress.task_ids[0] if progress.task_ids else progress.add_task("", total=self.files)
        progress.update(task, completed=index, description=name)
        progress.start()
        return lambda fraction: progress.update(task, completed=index + fraction)

    def hide(self) -> None:
        """Make room for a line of text; the next `watch` shows the bar again."""
        if self.progress:
            self.progress.stop()


def _new() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    # Results go to stdout, which may be a file: rich must not draw them into the bar.
    return Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    )
