"""Pictures for commands that show or compare them: image files, and `.hfc` files, which are decoded."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hflow.cli import batch
from hflow.cli.errors import say
from hflow.container import sniff
from hflow.errors import HflowError, OutputError
from hflow.text import from_text

if TYPE_CHECKING:
    from PIL import Image

QUALITY: dict[str, dict[str, Any]] = {
    "AVIF": {"quality": 90},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
}


def load(data: bytes, name: str, keep: Collection[str] = ()) -> tuple[Image.Image, list[str]]:
    """`hflow.images.load` in a process that is ours: up to our own limit, where Pillow's is lower."""
    from PIL import Image

    from hflow import images

    Image.MAX_IMAGE_PIXELS = images.MAX_PIXELS
    return images.load(data, name, keep)


def read(path: Path, device: str = "auto") -> Image.Image:
    """The picture in a file as 8-bit sRGB; what was dropped is said on stderr. Errors name the file."""
    import hflow
    from hflow import images

    data = from_text(batch.read(path))
    if sniff(data):
        try:
            return images.as_srgb(hflow.decode(data, device=device))[0]
        except HflowError as error:
            raise type(error)(f"{path}: {error}") from error
    image, dropped = load(data, str(path))
    for note in dropped:
        say(f"{path}: {note}")
    return image


def kind_of(name: str | Path) -> str:
    """Pillow's name for the format that the suffix says, before any work is done; OutputError if there is none."""
    from PIL import Image

    path = Path(name)
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise OutputError(f"{path}: {path.suffix or 'a name without suffix'} is not an image format to write")
    return kind


def pack(image: Image.Image, kind: str, name: object) -> bytes:
    """The bytes of an image file of a format that Pillow writes; OutputError, with the `name`, where it cannot."""
    from hflow import metadata

    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **QUALITY.get(kind, {}), **metadata.to_save(image, kind)[0])
    except (OSError, ValueError) as error:  # such as sides beyond what the format can say
        raise OutputError(f"{name}: {error}") from error
    return buffer.getvalue()
