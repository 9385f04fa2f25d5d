"""Pillow plugin: after `import hflow.pillow`, Pillow opens and saves `.hfc` files.

>>> image = Image.open("photo.hfc")  # size and mode at once; decoded when the pixels are needed
>>> image.save("again.hfc", bpp=0.03)

`save` takes what `hflow.encode` takes: `bpp`, `device`, `bundle` and so on. Colour profiles are applied, and
transparent pixels put on white. A file with our signature that cannot be used is an OSError with hflow's one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import IO, Any

from PIL import Image, ImageFile

import hflow
from hflow.container import metadata, parse, sniff
from hflow.errors import HflowError
from hflow.metadata import unpacked

FORMAT, SUFFIX, MIME = "HFLOW", ".hfc", "image/x-hflow"


@contextmanager
def _pillows_errors() -> Iterator[None]:
    """What callers of Pillow expect: OSError."""
    try:
        yield
    except HflowError as error:
        raise OSError(str(error)) from error


class HflowImageFile(ImageFile.ImageFile):
    """An opened `.hfc` file; `load` decodes it."""

    format, format_description = FORMAT, "hflow image"
    _data: bytes | None

    def _open(self) -> None:
        assert self.fp is not None
        self._data = self.fp.read()
        with _pillows_errors():
            about = parse(self._data)
        self._size, self._mode = (about.width, about.height), "RGB"
        self.info.update(unpacked(metadata.read(about)))

    def load(self) -> Any:
        if self._data is not None:
            with _pillows_errors():
                self.im = hflow.decode(self._data).im
            self._data = None
            if self.fp and self._exclusive_fp:
                self.fp.close()
            self.fp = None
        return super().load()


def _save(image: Image.Image, file: IO[bytes], _filename: str | bytes) -> None:
    from hflow.images import as_srgb

    known = signature(hflow.encode).parameters.keys() - {"image"}
    with _pillows_errors():
        rgb, _ = as_srgb(image, image.encoderinfo.get("metadata", ()))
        file.write(hflow.encode(rgb, **{k: v for k, v in image.encoderinfo.items() if k in known}))


Image.register_open(FORMAT, HflowImageFile, sniff)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, SUFFIX)
Image.register_mime(FORMAT, MIME)
