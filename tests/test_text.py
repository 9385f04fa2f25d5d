"""Files as text."""

from __future__ import annotations

import re

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


def lines(kind: str) -> list[str]:
    return re.findall(".{1,40}", to_text(FILE, kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_text_files_of_every_editor(kind: str, line_end: str, codec: str) -> None:
    mark = "\ufeff" if codec[-2:] in ("le", "be") else ""  # which the others write themselves
    assert from_text((mark + line_end.join(lines(kind)) + line_end).encode(codec)) == FILE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "between", ["\ufeff", "\u200b", "\u2060", "\xad", "\xa0", "\u202f", "\u3000", "\u2028", "\u200e"]
)
def test_what_messengers_add_does_not_matter(kind: str, between: str) -> None:
    text = between + between.join(lines(kind)) + between
    assert from_text(text) == FILE
    assert from_text(text.encode()) == FILE


def test_a_no_break_space_of_windows() -> None:
    assert from_text("\xa0".join(lines("base85")).encode("cp1252")) == FILE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quote", ["> ", ">", ">> ", "> > "])
def test_a_quotation_is_the_text(kind: str, quote: str) -> None:
    assert from_text("\n".join(quote + line for line in lines(kind))) == FILE


def test_lines_that_begin_with_the_sign_of_a_quotation_are_no_quotation() -> None:
    text = to_text(FILE)
    at = text.index(">", 1)
    assert from_text(f"{text[:at]}\n{text[at:]}") == FILE


def test_characters_of_no_alphabet_are_damage() -> None:
    text = to_text(FILE)
    for odd in ("\xe9", "\u4e00", "\ud800"):
        with pytest.raises(FormatError, match="not all of the text"):
            from_text(text[:20] + odd + text[20:])


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])
def test_a_binary_file_is_never_text(mark: bytes) -> None:
    for data in (FILE, FILE[:4] + mark, mark, mark + FILE, mark + b"\0", b"\x89PNG\r\n\0" + to_text(FILE).encode()):
        assert from_text(data) == data


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
