"""The standard streams, whatever they are: closed, full, without a reader, in any encoding.

Messages that stderr does not take are dropped. Where standard output fails, the work goes on, and the end of the
program tells it. Characters that an encoding does not have are escaped.
"""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from hflow.errors import InputError, OutputError
from hflow.output import reason

# What moves the cursor, begins a line or turns the order of what follows, and bytes that are no UTF-8.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class _Sink(io.RawIOBase):
    """The bytes of a standard stream, on their way to where they went before. Never fails, but for broken pipes.

    below: the binary stream it was; None where it was closed. failure: the first one, after which bytes are dropped.
    told: whether somebody has been told of it.
    """

    def __init__(self, below: Any, name: str, ends: bool) -> None:
        self.below, self.name, self.ends = below, name, ends
        self.failure: OSError | None = None
        self.told = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return super().fileno() if self.below is None else self.below.fileno()

    def isatty(self) -> bool:
        try:
            return self.below is not None and self.below.isatty()
        except ValueError:  # closed
            return False

    def write(self, data: Any) -> int:
        if self.failure is None:
            try:
                return self._pass_on(data)
            except (OSError, ValueError) as error:
                self.failure = error if isinstance(error, OSError) else OSError(errno.EBADF, "is closed")
                if self.ends and self.failure.errno == errno.EPIPE:
                    raise
        return len(data)

    def _pass_on(self, data: Any) -> int:
        if self.below is None:
            raise OSError(errno.EBADF, "is closed")
        written = self.below.write(data)
        if written is None:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.below.flush()
        return written


@contextmanager
def guarded() -> Iterator[None]:
    """sys.stdout and sys.stderr as this module describes them; `failure` says how standard output failed."""
    _fill_gaps()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _guard(sys.stdout, "<stdout>", True), _guard(sys.stderr, "<stderr>", False)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        sys.stdout, sys.stderr = before


def _fill_gaps() -> None:
    """Open the null device in place of closed descriptors, so that no file gets the number of a standard stream."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


def _guard(stream: Any, name: str, ends: bool) -> Any:
    if stream is not None and not hasattr(stream, "buffer"):  # one of the program around hflow, which takes any text
        return stream
    with suppress(OSError, ValueError, AttributeError):
        stream.flush()
    below = None if stream is None else getattr(stream.buffer, "raw", stream.buffer)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    buffer = io.BufferedWriter(_Sink(below, name, ends))
    return io.TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=True)


def _sink() -> _Sink | None:
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Sink) else None


def failure() -> OutputError | None:
    """How standard output failed, unless it was told already or nobody reads it."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    sink = _sink()
    if sink is None or sink.told or sink.failure is None or sink.failure.errno == errno.EPIPE:
        return None
    return OutputError(f"stdout: {reason(sink.failure)}")


def check_stdout(text: bool = False) -> None:
    """OutputError if a file cannot go to standard output: it is closed, or a terminal, which takes only `text`."""
    sink = _sink()
    if sys.stdout is None or not hasattr(sys.stdout, "buffer") or (sink and sink.below is None):
        raise OutputError("stdout: is closed")
    if sys.stdout.isatty() and not text:
        raise OutputError("stdout: is a terminal, which cannot show a file; name one with -o")


def put(data: bytes) -> None:
    """Bytes to standard output; OutputError if that fails, BrokenPipeError if nobody reads on."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        raise OutputError(f"stdout: {reason(error)}") from error
    if (sink := _sink()) and (failed := failure()):
        sink.told = True
        raise failed from sink.failure


def read() -> bytes:
    """All of standard input; InputError if that fails."""
    if not hasattr(sys.stdin, "buffer"):
        raise InputError("stdin: is closed")
    try:
        return sys.stdin.buffer.read() or b""
    except (OSError, ValueError) as error:
        raise InputError(f"stdin: {reason(error)}") from error


def echo(text: str) -> None:
    """Print on standard output what may have several lines."""
    print(text, flush=True)


def line(text: str) -> None:
    """Print one line on standard output."""
    echo(shown(text))


def say(message: str) -> None:
    """Print one line on stderr."""
    if sys.stderr is not None:
        print(f"hflow: {shown(message)}", file=sys.stderr, flush=True)


def shown(text: str) -> str:
    """Text for one line: control characters, also those in names of files, are escaped as in Python."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def can_say(text: str) -> bool:
    """Whether the encoding of standard output has these characters."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
