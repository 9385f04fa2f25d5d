"""`hflow encode`: images to .hfc files."""

from __future__ import annotations

import math

import click

from hflow.cli import batch, options
from hflow.cli.errors import say

# What counts as an image in a folder; any readable file can be named.
SUFFIXES = {f".{s}" for s in "avif bmp gif jp2 jpeg jpg pbm pgm png pnm ppm tga tif tiff webp".split()}  # noqa: SIM905


@click.command("encode")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "--bpp",
    type=float,
    default=0.03,
    show_default=True,
    callback=options.number(0, math.inf, open_low=True),
    help="Bits per pixel: 8 x file size / pixels.",
)
@options.device
@batch.many
def command(inputs: tuple[str, ...], bpp: float, device: str, how: batch.Options) -> None:
    """Compress images into .hfc files: files, folders, patterns, or - for stdin."""

    def encode(job: batch.Job, watch: batch.Watch) -> batch.Result:
        import hflow
        from hflow.images import load

        image, warnings = load(batch.read(job.source), job.name)
        for warning in () if how.quiet else warnings:
            say(f"{job.name}: {warning}")
        data = hflow.encode(image, bpp, device=device, progress=watch(image.width * image.height))
        batch.write(job, data, how.force)
        rate = 8 * len(data) / (image.width * image.height)
        return batch.Result(image.width, image.height, len(data), f"{len(data):,} bytes  {rate:.5f} bpp")

    batch.run(inputs, how, ".hfc", SUFFIXES, {"bpp": f"{bpp:g}"}, encode)
