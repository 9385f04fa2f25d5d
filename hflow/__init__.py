"""hflow: an image codec for extreme low bitrates.

>>> data = hflow.encode(image, bpp=0.03)
>>> image = hflow.decode(data)
>>> for data in hflow.encode_batch(images, bpp=0.03): ...
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hflow.codec.batch import decode_batch, encode_batch
    from hflow.codec.decode import decode
    from hflow.codec.encode import encode

__all__ = ["__version__", "decode", "decode_batch", "encode", "encode_batch"]
__version__ = "0.1.0"


_HOMES = {"encode": "encode", "decode": "decode", "encode_batch": "batch", "decode_batch": "batch"}


def __getattr__(name: str) -> Any:
    # Importing hflow stays instant: torch is loaded only when something is coded.
    if name in _HOMES:
        value = getattr(import_module(f"hflow.codec.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
