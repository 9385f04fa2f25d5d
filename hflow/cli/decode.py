"""`hflow decode`: .hfc files to images."""

from __future__ import annotations

import click

from hflow.cli import batch, options, pictures
from hflow.text import from_text


@click.command("decode")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["avif", "bmp", "jpg", "png", "ppm", "tiff", "webp"]),
    help="[default: by the suffix of the output, else png]",
)
@click.option(
    "--fidelity",
    type=float,
    default=1.0,
    show_default=True,
    callback=options.number(0, 1),
    help="Strength of the continuous stream: 0 shows the tokens alone. Below 1 only for files with tokens (--masking).",
)
@click.option("--partial", is_flag=True, help="Take the beginning of a file too, and predict the rest.")
@click.option("--salvage", is_flag=True, help="Take a damaged file too, and tell what was lost.")
@click.option(
    "--max-pixels", type=click.IntRange(min=1), default=2**28, show_default=True, help="Refuse larger pictures."
)
@options.device
@batch.many
def command(
    files: tuple[str, ...],
    kind: str | None,
    fidelity: float,
    partial: bool,
    salvage: bool,
    max_pixels: int,
    device: str,
    how: batch.Options,
) -> None:
    """Decompress .hfc files into images: files, folders, patterns, or - for stdin."""
    suffix = f".{kind or 'png'}"

    def decode(job: batch.Job, watch: batch.Watch) -> batch.Result:
        import hflow
        from hflow.container import metadata, parse, parse_cut
        from hflow.metadata import INFO

        writes = pictures.kind_of(job.target if job.target and not kind else f"stdout{suffix}")
        data = from_text(batch.read(job.source))
        pixels, missing, held = 0, 0, {}  # a damaged file's are not known yet
        if not salvage:
            about, missing = parse_cut(data) if partial else (parse(data), 0)
            pixels, held = about.width * about.height, metadata.read(about)
        if missing:
            watch.note(f"the first {len(data):,} of at least {len(data) + missing:,} bytes; the rest is predicted")
        image = hflow.decode(
            data, fidelity=fidelity, partial=partial, salvage=salvage, max_pixels=max_pixels, device=device,
            progress=watch(pixels),
        )  # fmt: skip
        note = image.info.get("salvaged")
        unusable = [f"the {what} data are damaged and were dropped" for what in held if INFO[what] not in image.info]
        packed, notes = pictures.pack(image, writes, job.target or "stdout")
        for dropped in unusable + notes:
            watch.note(dropped)
        batch.write(job, packed, how.force)
        return batch.Result(image.width, image.height, len(data), f"{image.width} x {image.height}", note)

    batch.run(files, how, suffix, {".hfc"}, {"fidelity": f"{fidelity:g}"}, decode)
