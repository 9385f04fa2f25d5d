"""Files as text, for places that take nothing else: base85 (5 characters for 4 bytes) or base64url (4 for 3).

Base85 is that of RFC 1924 and git, with 85 printable ASCII characters and no quotes, commas, backslashes or spaces.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re

from hflow.container.model import SIGNATURE
from hflow.errors import FormatError

KINDS = ("base85", "base64")
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_GROUPS = {"base85": (5, 4), "base64": (4, 3)}  # characters and bytes of a group
_NOTHING = re.compile("[\\s\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+")  # seen or not
_BEGINNINGS = (">u6", "62hm")  # the signature, as far as it alone decides, in base85 and base64


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


def from_text(data: bytes | str) -> bytes:
    """The bytes of a file that may be text of either kind; other data come back as they are.

    White space may be anywhere, and what messengers and editors add: characters without width, a byte order mark (of
    UTF-8, or of UTF-16, which the text then is in), and the `> ` of a quotation before every line. FormatError for text
    that begins like a file and is none.
    """
    if isinstance(data, bytes) and data.startswith(SIGNATURE):
        return data
    if isinstance(data, bytes) and b"\0" in data[:64] and not data.startswith(UTF16):
        return data  # a picture, perhaps a large one
    text = _plain(data)
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
    return data.encode("utf-8", "replace") if isinstance(data, str) else data


def _plain(data: bytes | str) -> bytes:
    """The characters that count, in ASCII; what is none becomes a character of neither kind."""
    text = data if isinstance(data, str) else _decoded(data)
    # What stands before the signature says how every line is quoted; the rest of a line may begin with > itself.
    if quote := re.match(rf"\s*((?:> ?)+?)(?:{'|'.join(_BEGINNINGS)})", text):
        text = "\n".join(line.strip().removeprefix(quote[1].strip()) for line in text.splitlines())
    return _NOTHING.sub("", text).encode("ascii", "backslashreplace")


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-16" if data.startswith(UTF16) else "utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _base64(text: bytes) -> bytes:
    return base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
