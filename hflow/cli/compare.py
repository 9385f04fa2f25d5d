"""`hflow compare`: how far two pictures are apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hflow.cli import batch, options, pictures
from hflow.cli.streams import echo, line
from hflow.errors import HflowError

if TYPE_CHECKING:
    import numpy as np

GAIN = 4  # of the difference picture
NO_MS_SSIM = 'needs sides above 160 pixels, and pip install "hflow[bench]"'


@click.command("compare")
@click.argument("a", metavar="A", type=options.FILES)
@click.argument("b", metavar="B", type=options.FILES)
@click.option(
    "--metrics", type=options.FILES, help="Folder with perceptual.py and the LPIPS weights; without it no LPIPS."
)
@click.option("--diff", type=options.FILES, metavar="OUT", help=f"Write the difference, {GAIN} times as strong.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@options.device
@options.force
def command(a: Path, b: Path, metrics: Path | None, diff: Path | None, as_json: bool, device: str, force: bool) -> None:
    """PSNR, MS-SSIM and LPIPS between the pictures A and B, each an image or a .hfc file."""
    import numpy as np

    from hflow.output import check_output, save_atomic

    for path in (a, b):
        batch.check_source(path)
    if diff:
        check_output(diff, force)
        pictures.kind_of(diff)
    found = [pictures.read(path, device) for path in (a, b)]
    x, y = (np.asarray(image) for image, _ in found)
    if x.shape != y.shape:
        sizes = " and ".join(f"{v.shape[1]} x {v.shape[0]}" for v in (x, y))
        raise HflowError(f"{a} and {b} are {sizes} pixels: only pictures of one size can be compared")
    figures = measure(x, y, metrics)
    if diff:
        save_atomic(diff, pictures.pack(difference(x, y), pictures.kind_of(diff), diff)[0], force)
    bpp = [8 * size / (x.shape[0] * x.shape[1]) for _, size in found]
    if as_json:
        echo(json.dumps({"files": [str(a), str(b)], "size": [x.shape[1], x.shape[0]], "bpp": bpp, **figures}))
        return
    for path, rate in zip((a, b), bpp, strict=True):
        line(f"{path}  {x.shape[1]} x {x.shape[0]}  {rate:.5f} bpp")
    psnr = "infinite: the pixels are identical" if figures["psnr"] is None else f"{figures['psnr']:.2f} dB"
    echo(f"PSNR     {psnr}")
    echo("MS-SSIM  " + (NO_MS_SSIM if figures["ms_ssim"] is None else f"{figures['ms_ssim']:.4f}"))
    if "lpips_alex" in figures:
        echo(f"LPIPS    {figures['lpips_alex']:.4f} (Alex)")


def measure(x: np.ndarray, y: np.ndarray, metrics: Path | None) -> dict[str, Any]:
    """psnr in dB (None: identical), ms_ssim (None: cannot be measured) and, with the folder `metrics`, lpips_alex."""
    from hflow.bench.measure import Metrics

    return {"psnr": None, "ms_ssim": None, **Metrics(metrics)(x, y)}


def difference(x: np.ndarray, y: np.ndarray) -> Any:
    """The absolute difference of two pictures as an image, amplified so that it can be seen."""
    import numpy as np
    from PIL import Image

    apart = np.abs(x.astype(np.int16) - y.astype(np.int16))
    return Image.fromarray(np.minimum(GAIN * apart, 255).astype(np.uint8))
