"""What people read of `hflow bench quality`: tables, rate-distortion plots, and a page with a slider."""

from __future__ import annotations

import base64
import html
import io
import json
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table

from hflow.bench.quality import floors, means

LABELS = {"psnr": "PSNR dB", "ms_ssim": "MS-SSIM", "lpips_alex": "LPIPS-Alex"}
DIGITS = {"psnr": 2, "ms_ssim": 4, "lpips_alex": 3}
PAGE = Path(__file__).with_name("compare.html")


def lines(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of means."""
    names = results["metrics"]
    head = ["bpp at most", "codec", "files", "mean bpp", *(LABELS[k] for k in names)]
    total = results["pictures"]
    body = [
        [
            f"{m.target:g}",
            m.codec,
            f"{m.files}/{total}",
            f"{m.bpp:.4f}",
            *(f"{m.scores[k]:.{DIGITS[k]}f}" for k in names),
        ]
        for m in means(results)
    ]
    return head, body


def table(results: dict[str, Any]) -> Table:
    """The means, for a terminal."""
    head, body = lines(results)
    out = Table(*head)
    for row in body:
        out.add_row(*row)
    return out


def markdown(results: dict[str, Any]) -> str:
    """The means and the floors, for docs."""
    head, body = lines(results)
    rows = [head, ["---"] * len(head), *body]
    text = "\n".join("| " + " | ".join(r) + " |" for r in rows)
    found = floors(results)
    if found:
        text += "\n\nSmallest file that each can make, mean bpp, the smaller of full and half size: "
        text += ", ".join(f"{k} {v:.4f}" for k, v in found.items()) + "."
    return text + "\n"


def plot(results: dict[str, Any], path: Path) -> None:
    """Rate-distortion curves, a panel per metric. Codecs appear where every picture reached the target."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names, every = results["metrics"], means(results)
    figure, axes = pyplot.subplots(1, len(names), figsize=(4.5 * len(names), 3.8), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for codec in results["codecs"]:
            points = [m for m in every if m.codec == codec and m.files == results["pictures"]]
            if points:
                style = {"linewidth": 2.5, "color": "black"} if codec.startswith("hflow") else {}
                style |= {"linestyle": "--"} if "--effort" in codec else {}
                axis.plot([m.bpp for m in points], [m.scores[name] for m in points], marker="o", label=codec, **style)
        axis.set_xlabel("bits per pixel")
        axis.set_title(LABELS[name])
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


class Gallery:
    """Decoded pictures, kept as small WebP files for the page."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.images: dict[str, dict[str, str]] = {}  # picture -> "codec|target" -> data URL

    def keep(self, codec: str, picture: str, target: float, x: np.ndarray) -> None:
        if picture in self.images or len(self.images) < self.limit:
            out = io.BytesIO()
            # The original at a quality where it looks like one; a decoded picture holds little to lose.
            Image.fromarray(x).save(out, format="WEBP", quality=88 if codec == "original" else 80, method=4)
            url = "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()
            self.images.setdefault(picture, {})[codec if codec == "original" else f"{codec}|{target:g}"] = url


def page(results: dict[str, Any], gallery: Gallery) -> str:
    """A self-contained HTML page: a slider between the original, hflow and each peer at equal bytes."""
    shown = {
        f"{r['picture']}|{r['codec']}|{r['target']:g}": {k: r[k] for k in ("bytes", "bpp", *results["metrics"])}
        for r in results["rows"]
        if r["target"] is not None and r["picture"] in gallery.images
    }
    data = {
        "images": gallery.images, "rows": shown, "targets": results["targets"], "codecs": list(results["codecs"]),
        "labels": {k: LABELS[k] for k in results["metrics"]}, "digits": DIGITS,
    }  # fmt: skip
    versions = "; ".join(f"{k}: {v}" for k, v in results["codecs"].items())
    text = json.dumps(data).replace("<", "\\u003c")
    return Template(PAGE.read_text()).substitute(
        title=html.escape(f"hflow on {results['set']}"), versions=html.escape(versions), data=text
    )


def sheet(pictures: list[np.ndarray], columns: int = 6, width: int = 320) -> Image.Image:
    """A contact sheet of (H, W, 3) pictures; upright ones are fitted to the height of wide ones."""
    cell = width, width * 2 // 3
    rows = -(-len(pictures) // columns)
    out = Image.new("RGB", (columns * cell[0], rows * cell[1]), "black")
    for k, x in enumerate(pictures):
        small = Image.fromarray(x)
        small.thumbnail(cell, Image.Resampling.LANCZOS)
        left, top = (k % columns) * cell[0], (k // columns) * cell[1]
        out.paste(small, (left + (cell[0] - small.width) // 2, top + (cell[1] - small.height) // 2))
    return out
