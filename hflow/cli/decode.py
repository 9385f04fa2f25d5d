"""`hflow decode`: .hfc files to images."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import click

from hflow.cli import batch, options
from hflow.cli.progress import Bar
from hflow.errors import OutputError

QUALITY: dict[str, dict[str, Any]] = {
    "AVIF": {"quality": 90},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
}


@click.command("decode")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=options.FILES)
@click.option(
    "-o", "--output", metavar="OUT", help="A file (its suffix is the format), or a folder. [default: .png beside]"
)
@click.option(
    "--fidelity",
    type=float,
    default=1.0,
    show_default=True,
    callback=options.number(0, 1),
    help="0 looks best, 1 is closest to the original.",
)
@options.device
@options.force
@options.quiet
def command(
    files: tuple[Path, ...], output: str | None, fidelity: float, device: str, force: bool, quiet: bool
) -> None:
    """Decompress .hfc files, or all those of a folder, into images."""
    jobs = batch.plan(files, output, ".png", {".hfc"})

    def decode(job: batch.Job, bar: Bar) -> str:
        import hflow
        from hflow.container import parse
        from hflow.images import check_output, save_atomic

        check_output(job.target, force)
        kind = _format(job.target)
        data = batch.read(job.source)
        about = parse(data)
        progress = bar.watch(job.index, job.source.name, about.width * about.height)
        image = hflow.decode(data, fidelity=fidelity, device=device, progress=progress)
        buffer = io.BytesIO()
        try:
            image.save(buffer, kind, **QUALITY.get(kind, {}))
        except (OSError, ValueError) as error:  # such as sides beyond what the format can say
            raise OutputError(f"{job.target}: {error}") from error
        save_atomic(job.target, buffer.getvalue(), force)
        return f"{job.source} -> {job.target}  {image.width} x {image.height}"

    batch.run(jobs, decode, quiet)


def _format(path: Path) -> str:
    """Pillow's name for the format of `path`, known before the work is done."""
    from PIL import Image

    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise OutputError(f"{path}: {path.suffix or 'a name without suffix'} is not an image format to write")
    return kind
