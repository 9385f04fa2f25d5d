"""Pillow plugin: after `import hflow.pillow`, Pillow opens and saves `.hfc` files.

>>> image = Image.open("photo.hfc")  # size and mode at once; decoded when the pixels are needed
>>> image.save("again.hfc", bpp=0.03)

`save` takes what `hflow.encode` takes: `bpp`, `device`, `bundle` and so on, and images of every mode as that does:
upright, in sRGB, transparent pixels on white. A file with our signature that cannot be used is an OSError with hflow's
one line. An image that was not decoded yet is pickled and copied as the file it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from io import BytesIO
from typing import IO, Any, SupportsIndex

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
    _data: bytes | None = None  # until the picture is decoded

    def _open(self) -> None:
        assert self.fp is not None
        self._data = self.fp.read()
        with _pillows_errors():
            about = parse(self._data)
        self._size, self._mode = (about.width, about.height), "RGB"
        self.info.update(unpacked(metadata.read(about)))

    def load(self) -> Any:
        if (data := self._data) is not None:
            with _pillows_errors():
                self.im = hflow.decode(data).im
            file, self._data, self.fp = self.fp, None, None
            if file and self._exclusive_fp:
                file.close()
        return super().load()

    def close(self) -> None:
        self._data = None
        super().close()

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        if self._data is None:
            return super().__reduce_ex__(protocol)
        return _reopened, (self._data, self.filename, self.info)


def _reopened(data: bytes, filename: str | bytes, info: dict[Any, Any]) -> HflowImageFile:
    """An image that travelled before it was decoded."""
    image = HflowImageFile(BytesIO(data), filename)
    image.info = info
    return image


def _save(image: Image.Image, file: IO[bytes], _filename: str | bytes) -> None:
    known = signature(hflow.encode).parameters.keys() - {"image"}
    with _pillows_errors():
        file.write(hflow.encode(image, **{k: v for k, v in image.encoderinfo.items() if k in known}))


Image.register_open(FORMAT, HflowImageFile, sniff)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, SUFFIX)
Image.register_mime(FORMAT, MIME)
