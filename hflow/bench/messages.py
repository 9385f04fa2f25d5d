"""Photos as text messages: square crops, their text, and what comes back.

hflow bench messages FOLDER --size 200 -o docs/messages
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import hflow
from hflow.bench.measure import read
from hflow.text import from_text, to_text

SIDE = 256


def crop(rgb: np.ndarray) -> np.ndarray:
    """The middle of a picture (H, W, 3), at half size where it is large enough, (SIDE, SIDE, 3)."""
    image = Image.fromarray(rgb)
    factor = min(image.size) // SIDE
    if factor > 1:
        image = image.reduce(factor)
    left, top = ((n - SIDE) // 2 for n in image.size)
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))


def write(paths: list[Path], size: int, folder: Path) -> None:
    """A sheet of originals and decoded pictures, side by side, and a page with their texts."""
    columns = 4
    rows = -(-len(paths) // columns)
    sheet = Image.new("RGB", (columns * (2 * SIDE + 12), rows * (SIDE + 12)), "white")
    lines = [
        "# Photos as text messages",
        "",
        f"The middle {SIDE} x {SIDE} pixels of photos, each in at most {size} bytes,",
    ]
    lines += ["original and decoded side by side, and the text that was decoded.", "", "![pictures](messages.webp)", ""]
    for n, path in enumerate(paths):
        original = crop(read(path))
        text = to_text(hflow.encode(original, size=size))
        decoded = hflow.decode(text)
        x, y = n % columns * (2 * SIDE + 12), n // columns * (SIDE + 12)
        sheet.paste(Image.fromarray(original), (x, y))
        sheet.paste(decoded, (x + SIDE, y))
        lines += [f"{path.name}, {len(from_text(text.encode()))} bytes, {len(text)} characters:", "", f"    {text}", ""]
    folder.mkdir(parents=True, exist_ok=True)
    sheet.save(folder / "messages.webp", quality=85, method=6)
    (folder / "README.md").write_text("\n".join(lines))
