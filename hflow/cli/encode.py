"""`hflow encode`: images to .hfc files."""

from __future__ import annotations

import math
from pathlib import Path

import click

from hflow.cli import batch, options
from hflow.cli.errors import say
from hflow.cli.progress import Bar

# What counts as an image in a folder; any readable file can be named.
SUFFIXES = {f".{s}" for s in "avif bmp gif jp2 jpeg jpg pbm pgm png pnm ppm tga tif tiff webp".split()}  # noqa: SIM905


@click.command("encode")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", type=options.FILES)
@click.option("-o", "--output", metavar="OUT", help="A file, or a folder for several. [default: beside the input]")
@click.option(
    "--bpp",
    type=float,
    default=0.03,
    show_default=True,
    callback=options.number(0, math.inf, open_low=True),
    help="Bits per pixel: 8 x file size / pixels.",
)
@options.device
@options.force
@options.quiet
def command(inputs: tuple[Path, ...], output: str | None, bpp: float, device: str, force: bool, quiet: bool) -> None:
    """Compress images, or all those of a folder, into .hfc files."""
    jobs = batch.plan(inputs, output, ".hfc", SUFFIXES)

    def encode(job: batch.Job, bar: Bar) -> str:
        import hflow
        from hflow.images import check_output, load, save_atomic

        check_output(job.target, force)
        image, warnings = load(job.source)
        for warning in () if quiet else warnings:
            say(f"{job.source}: {warning}")
        pixels = image.width * image.height
        progress = bar.watch(job.index, job.source.name, pixels)
        data = hflow.encode(image, bpp, device=device, progress=progress)
        save_atomic(job.target, data, force)
        return f"{job.source} -> {job.target}  {len(data):,} bytes  {8 * len(data) / pixels:.5f} bpp"

    batch.run(jobs, encode, quiet)
