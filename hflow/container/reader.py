"""A cursor over bytes that never reads past their end and knows how much is missing."""

from hflow.container.model import CRC_SIZE
from hflow.errors import FormatError


class Truncated(FormatError):
    """The file ends before its structure does."""


class Reader:
    """Reads `data` from the front.

    owed: bytes known to follow whatever is read next, the checksum included; they only add to what is missing.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0
        self.owed = CRC_SIZE

    def need(self, size: int) -> None:
        """Truncated unless `size` more bytes are there."""
        missing = self.pos + size - len(self.data)
        if missing > 0:
            raise Truncated(f"truncated: {missing + self.owed} bytes missing")

    def take(self, size: int) -> bytes:
        """The next `size` bytes, or Truncated."""
        self.need(size)
        self.pos += size
        return self.data[self.pos - size : self.pos]

    def byte(self) -> int:
        """The next byte, 0..255, or Truncated."""
        return self.take(1)[0]
