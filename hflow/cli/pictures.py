"""Pictures for commands that show or compare them: image files, and `.hfc` files, which are decoded."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hflow.cli import batch
from hflow.cli.errors import as_error, named, squeezed
from hflow.cli.streams import say
from hflow.container import sniff
from hflow.errors import OutputError
from hflow.output import is_stream
from hflow.text import from_text

if TYPE_CHECKING:
    from PIL import Image

QUALITY: dict[str, dict[str, Any]] = {
    "AVIF": {"quality": 90},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
}
# Of what Pillow opens, and plugins that somebody added to it, what counts as a picture in a folder.
PICTURES = "AVIF BMP DIB GIF HEIF JPEG JPEG2000 JXL MPO PNG PPM QOI TGA TIFF WEBP".split()  # noqa: SIM905


def suffixes() -> set[str]:
    """The suffixes of the files that count in a folder, in lower case; any readable file can be named."""
    from PIL import Image

    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in PICTURES}


def load(data: bytes, name: str, keep: Collection[str] = ()) -> tuple[Image.Image, list[str]]:
    """`hflow.images.load` in a process that is ours: up to our own limit, where Pillow's is lower."""
    from PIL import Image

    from hflow import images

    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, images.MAX_PIXELS)
    return images.load(data, name, keep)


def read(path: Path, device: str = "auto") -> tuple[Image.Image, int]:
    """The picture in a file as 8-bit sRGB, and the file's bytes; what was dropped is said on stderr.

    The file is read once. Every error, whatever it comes from, is an HflowError that names the file.
    """
    import hflow
    from hflow import images

    try:
        whole = batch.read(path)
        data = from_text(whole)
        if sniff(data):
            image, dropped = images.as_srgb(hflow.decode(data, device=device))
        else:
            image, dropped = load(whole, str(path))
    except Exception as error:
        found = as_error(error)
        raise type(found)(named(found, path)) from error
    for note in dropped:
        say(f"{path}: {note}")
    return image, len(whole)


def kind_of(name: str | Path) -> str:
    """Pillow's name for the format that the suffix says, before any work is done; OutputError if there is none.

    Devices and named pipes without a suffix take PNG.
    """
    from PIL import Image

    path = Path(name)
    if not path.suffix and is_stream(path):
        return "PNG"
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise OutputError(f"{path}: {path.suffix or 'a name without suffix'} is not an image format to write")
    return kind


def pack(image: Image.Image, kind: str, name: object) -> tuple[bytes, list[str]]:
    """The bytes of an image file of a format that Pillow writes, and notes on the metadata that it could not take.

    OutputError, with the `name`, for a picture that the format cannot say.
    """
    from hflow import metadata

    lost = metadata.to_save(image, kind)[1]
    notes = [f"{kind} files cannot carry the {what} data" for what in lost]
    kept = [what for what, key in metadata.INFO.items() if image.info.get(key) and what not in lost]
    try:
        return _written(image, kind, kept), notes
    except Exception as error:
        if not kept:
            raise _unwritable(name, error) from error
    # Something in the metadata, maybe: the picture comes first, and of them what can be added one by one.
    able: list[str] = []
    try:
        data = _written(image, kind, able)
    except Exception as error:
        raise _unwritable(name, error) from error
    for what in kept:
        try:
            data = _written(image, kind, [*able, what])
            able.append(what)
        except Exception as error:  # metadata that are anything make Pillow fail in every way there is
            notes.append(f"the {what} data cannot be written and were dropped ({_reason(error)})")
    return data, notes


def _written(image: Image.Image, kind: str, kept: Collection[str]) -> bytes:
    """An image file with these kinds of the image's metadata."""
    from hflow import metadata

    buffer, before = io.BytesIO(), image.info
    # Writers look for metadata in an image, too, and not only in what they are given.
    image.info = {key: before[key] for what, key in metadata.INFO.items() if what in kept}
    try:
        image.save(buffer, kind, **QUALITY.get(kind, {}), **metadata.to_save(image, kind)[0])
    finally:
        image.info = before
    return buffer.getvalue()


def _unwritable(name: object, error: Exception) -> OutputError:
    return OutputError(f"{name}: {_reason(error)}")


def _reason(error: Exception) -> str:
    return squeezed(error) or type(error).__name__
