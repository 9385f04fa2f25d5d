"""Files as text."""

from __future__ import annotations

import pytest

from hflow.errors import FormatError
from hflow.text import KINDS, capacity, from_text, to_text

FILE = b"\xebhf\x01" + bytes(range(256))


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_for_every_length(kind: str) -> None:
    for size in range(4, 60):
        text = to_text(FILE[:size], kind)
        assert from_text(text.encode()) == FILE[:size]
        assert text.isascii() and not set(text) & set(" \"'\\,\n")
        assert size <= capacity(len(text), kind) < size + 1
        assert capacity(len(text) - 1, kind) < size


def test_white_space_does_not_matter() -> None:
    text = to_text(FILE)
    wrapped = "\r\n ".join(text[n : n + 70] for n in range(0, len(text), 70))
    assert from_text(f"\n{wrapped}\n".encode()) == FILE


def test_what_is_not_text_comes_back_as_it_is() -> None:
    for data in (FILE, b"", b"hello", b"\x89PNG\r\n", b">>>>>>>>>>"):
        assert from_text(data) == data


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_text_is_an_error(kind: str) -> None:
    text = to_text(FILE, kind)
    with pytest.raises(FormatError, match=f"not all of the text is {kind}"):
        from_text(f'{text[:40]}"{text[41:]}'.encode())


def test_a_tweet_holds_224_bytes() -> None:
    assert capacity(280) == 224
    assert capacity(280, "base64") == 210
