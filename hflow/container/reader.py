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

    @property
    def ended(self) -> bool:
        """Whether nothing is left, in data that may end early."""
        return False

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


class CutReader(Reader):
    """Reads what is there of data whose end is missing: beyond it everything is empty.

    missing: how many bytes were asked for in vain.
    """

    missing = 0

    @property
    def ended(self) -> bool:
        """Whether nothing is left."""
        return self.pos >= len(self.data)

    def need(self, size: int) -> None:
        """Notes what is missing."""
        self.missing += max(0, size - max(0, len(self.data) - self.pos))

    def byte(self) -> int:
        """The next byte, or 1, which ends a varint and leaves it valid."""
        return (self.take(1) or b"\1")[0]
