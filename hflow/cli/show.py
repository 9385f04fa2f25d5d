"""`hflow show`: pictures in a terminal, two pixels to a character."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hflow.cli import options, pictures
from hflow.cli.errors import report
from hflow.cli.streams import can_say, line
from hflow.errors import HflowError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image
    from rich.segment import Segment


HALF = "▀"


@click.command("show")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=options.FILES)
@click.option("--width", type=click.IntRange(1, 10_000), metavar="COLUMNS", help="[default: what fits the terminal]")
@options.device
def command(files: tuple[Path, ...], width: int | None, device: str) -> None:
    """Show images or .hfc files in a terminal with 24-bit colour (fewer colours where it has fewer)."""
    from rich.console import Console
    from rich.segment import Segments

    terminal = shutil.get_terminal_size()
    columns, rows = (width, 10_000) if width else (terminal.columns, max(1, terminal.lines - 1))
    # A pipe, such as to `less -R`, cannot be asked for its colours; and the colours are the picture.
    console = Console(
        force_terminal=True, color_system="auto" if sys.stdout.isatty() else "truecolor", no_color=False, width=columns
    )
    codes, halves = [], can_say(HALF)
    for path in files:
        try:
            image = pictures.read(path, device)[0]
        except HflowError as error:
            codes.append(report(error))
            continue
        if len(files) > 1:
            line(str(path))
        console.print(Segments(blocks(image, columns, rows, halves)), end="")
    click.get_current_context().exit(codes[0] if codes else 0)


def blocks(image: Image.Image, columns: int, rows: int, halves: bool = True) -> Iterator[Segment]:
    """The picture in at most `columns` x `rows` characters: each shows one pixel above another.

    halves: whether there is a character for it; where not, each is a space that shows the mean of the two.
    """
    from PIL import Image
    from rich.color import Color
    from rich.segment import Segment
    from rich.style import Style

    scale = min(columns / image.width, 2 * rows / image.height, 1.0)
    size = max(1, round(scale * image.width)), 2 * max(1, round(scale * image.height / 2))
    small = image.resize(size, Image.Resampling.LANCZOS)
    if not halves:
        small = small.reduce((1, 2)).resize(size, Image.Resampling.NEAREST)
    pixels = small.load()
    assert pixels is not None
    for y in range(0, size[1], 2):
        for x in range(size[0]):
            upper, lower = (Color.from_rgb(*pixels[x, row]) for row in (y, y + 1))  # type: ignore[misc]
            yield Segment(HALF, Style(color=upper, bgcolor=lower)) if halves else Segment(" ", Style(bgcolor=upper))
        yield Segment.line()
