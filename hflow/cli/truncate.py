"""`hflow truncate`: smaller .hfc files from larger ones."""

from __future__ import annotations

import click

from hflow.cli import batch, options
from hflow.text import from_text


@click.command("truncate")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@options.bpp
@options.size
@options.device
@batch.many
def command(files: tuple[str, ...], bpp: float | None, size: int | None, device: str, how: batch.Options) -> None:
    """Cut .hfc files to --bpp or --size, without the original pictures."""
    if (bpp is None) == (size is None):
        raise click.UsageError("one of --bpp and --size is needed.")
    if size is not None and size < 0:
        raise click.UsageError("a size in bytes is needed.")

    def cut(job: batch.Job, _watch: batch.Watch) -> batch.Result:
        from hflow.codec.truncate import truncate
        from hflow.container import parse

        data = from_text(batch.read(job.source))
        about = parse(data)
        pixels = about.width * about.height
        out = truncate(data, int(bpp * pixels / 8) if bpp is not None else size or 0, device=device)
        batch.write(job, out, how.force)
        text = f"{len(data):,} -> {len(out):,} bytes  {8 * len(out) / pixels:.5f} bpp"
        return batch.Result(about.width, about.height, len(out), text)

    fields = {"bpp": f"{bpp:g}"} if bpp is not None else {"size": f"{size}"}
    batch.run(files, how, ".hfc", {".hfc"}, fields, cut)
