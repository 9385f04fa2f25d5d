"""`hflow encode`: images to .hfc files."""

from __future__ import annotations

from typing import Any

import click

from hflow.cli import batch, options, pictures
from hflow.cli import effort as efforts
from hflow.cli.effort import Patience
from hflow.cli.roi import RoiType, load_roi
from hflow.container.metadata import TYPES
from hflow.masks import LABELS
from hflow.text import KINDS, capacity, to_text


class MetadataType(click.ParamType):
    """Kinds of metadata, separated by commas, or none."""

    name = "kinds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        kinds = () if value == "none" else tuple(dict.fromkeys(value.split(",")))
        if unknown := [k for k in kinds if k not in TYPES]:
            self.fail(f"{unknown[0]!r} is not one of {', '.join(TYPES)}.", param, ctx)
        return kinds


@click.command("encode")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@options.bpp
@options.size
@click.option("--quality", type=float, callback=options.number(0, 100), help="0 to 100; sizes follow the picture.")
@click.option("--roi", type=RoiType(), help="Spend more on x,y,width,height, or on what a mask image marks white.")
@click.option(
    "--masking",
    type=click.Choice(["auto", "rd", "complexity", *LABELS]),
    default="auto",
    show_default=True,
    help="Which tokens are sent.",
)
@click.option("--progressive", is_flag=True, help="In layers: the beginning of the file is a good picture, too.")
@click.option(
    "--text", type=click.Choice(KINDS), is_flag=False, flag_value="base85", help="Write text. [default kind: base85]"
)
@click.option("--metadata", type=MetadataType(), default="none", help="Keep these: exif,xmp,icc. They count.")
@efforts.effort
@efforts.tune
@efforts.time_limit
@options.device
@batch.many
def command(
    inputs: tuple[str, ...], bpp: float | None, size: int | None, quality: float | None, roi: Any, masking: str,
    progressive: bool, text: str | None, metadata: tuple[str, ...], effort: int, tune: str, time_limit: float | None,
    device: str, how: batch.Options,
) -> None:  # fmt: skip
    """Compress images into .hfc files: files, folders, patterns, or - for stdin.

    One of --bpp, --size and --quality says how small; the default is --bpp 0.03.
    """
    target = target_of(bpp, size, quality, text)
    if effort and roi:
        raise click.UsageError("--effort treats all of a picture alike: it does not go with --roi.")
    if progressive and (effort or masking not in ("auto", "none")):
        raise click.UsageError("--progressive does not go with --effort, nor with tokens (--masking).")
    marked = load_roi(roi)
    patience = Patience(effort > 0)

    def encode(job: batch.Job, watch: batch.Watch) -> batch.Result:
        import hflow

        patience.begin()
        image, warnings = pictures.load(batch.read(job.source), job.name, metadata)
        for warning in warnings:
            watch.note(warning)
        extras: dict[str, Any] = {"roi": marked, "masking": masking, "metadata": metadata}
        extras |= {"progressive": progressive, "effort": effort, "tune": tune, "time_limit": time_limit}
        progress = watch(image.width * image.height, slow=effort > 0)

        def refining(share: float, now: float, start: float) -> bool:
            watch.say(f"cost {now:.4f}, {start:.4f} at the start")
            return not patience.over

        data = hflow.encode(image, **target, **extras, device=device, progress=progress, refining=refining)
        batch.write(job, f"{to_text(data, text)}\n".encode() if text else data, how.force)
        rate = 8 * len(data) / (image.width * image.height)
        return batch.Result(image.width, image.height, len(data), f"{len(data):,} bytes  {rate:.5f} bpp")

    suffix = ".txt" if text else ".hfc"
    with patience:
        batch.run(inputs, how, suffix, pictures.suffixes(), {k: f"{v:g}" for k, v in target.items()}, encode)


def target_of(bpp: float | None, size: int | None, quality: float | None, text: str | None) -> dict[str, Any]:
    """The one target that was given, as `hflow.encode` takes it."""
    given: dict[str, Any] = {
        k: v for k, v in (("bpp", bpp), ("size", size), ("quality", quality)) if v is not None
    } or {"bpp": 0.03}
    if len(given) > 1:
        raise click.UsageError(f"--{' and --'.join(given)} exclude each other.")
    if size is not None and size < 0:  # characters
        if text is None:
            raise click.UsageError("a size in characters needs --text.")
        given["size"] = capacity(-size, text)
    return given
