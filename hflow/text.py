"""Files as text, for places that take nothing else: base85 (5 characters for 4 bytes) or base64url (4 for 3).

Base85 is that of RFC 1924 and git, with 85 printable ASCII characters and no quotes, commas, backslashes or spaces.
"""

from __future__ import annotations

import base64
import binascii

from hflow.container.model import SIGNATURE
from hflow.errors import FormatError

KINDS = ("base85", "base64")
_GROUPS = {"base85": (5, 4), "base64": (4, 3)}  # characters and bytes of a group


def capacity(characters: int, kind: str = "base85") -> int:
    """How many bytes fit in so many characters."""
    wide, narrow = _GROUPS[kind]
    whole, rest = divmod(characters, wide)
    return whole * narrow + max(0, rest - 1)


def to_text(data: bytes, kind: str = "base85") -> str:
    """Bytes as one line of text without padding or newline."""
    if kind == "base85":
        return base64.b85encode(data).decode("ascii")
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def from_text(data: bytes) -> bytes:
    """The bytes of a file that may be text of either kind, with white space anywhere; other data come back as they are.

    FormatError for text that begins like a file and is none.
    """
    text = b"".join(data.split())
    for kind, read in (("base85", base64.b85decode), ("base64", _base64)):
        wide, _ = _GROUPS[kind]
        try:
            if not read(text[:wide]).startswith(SIGNATURE):
                continue
        except (ValueError, binascii.Error):
            continue
        try:
            return read(text)
        except (ValueError, binascii.Error):
            raise FormatError(f"damaged: not all of the text is {kind}") from None
    return data


def _base64(text: bytes) -> bytes:
    return base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
