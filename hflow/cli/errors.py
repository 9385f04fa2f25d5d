"""What the user sees of an error: one line on stderr and an exit code. HFLOW_DEBUG=1 adds the traceback."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback

import click

from hflow.cli.streams import say
from hflow.errors import HflowError

INTERRUPTED = 130  # what a shell reports for Ctrl-C
_MEMORY = re.compile(
    "out of memory|(can't|cannot|could not|failed to|unable to) allocate|not enough memory|bad_alloc|ALLOC_FAILED", re.I
)


class Unread(HflowError):
    """Nobody reads on what is written: the end of it, but nothing to speak of."""


def as_error(error: Exception) -> HflowError:
    """Any exception as an error of one line: lack of memory is called that, the unexpected an internal error.

    Click's own exceptions, which end a command or tell of wrong usage, are raised again.
    """
    if isinstance(error, click.ClickException | click.exceptions.Exit | click.Abort):
        raise error
    if isinstance(error, HflowError) and ("out of memory" in str(error) or not _lacks_memory(error)):
        return error
    if isinstance(error, BrokenPipeError):
        found: HflowError = Unread("nobody reads on")
    elif _lacks_memory(error):
        found = HflowError("out of memory")
    else:
        message = f"{type(error).__name__}: {squeezed(error)}".removesuffix(": ")
        found = HflowError(f"internal error: {message}; HFLOW_DEBUG=1 shows the traceback")
    found.__cause__ = error
    return found


def _lacks_memory(error: BaseException | None) -> bool:
    """Whether an exception, or one that it came from, says that there is not enough memory."""
    while error:
        untyped = isinstance(error, RuntimeError) or (isinstance(error, OSError) and error.errno is None)
        if isinstance(error, MemoryError) or (untyped and _MEMORY.search(squeezed(error))):
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        error = error.__cause__
    return False


def squeezed(message: object) -> str:
    """Text from elsewhere in one line; nothing for an exception that cannot even say what it is."""
    try:
        return " ".join(str(message).split())
    except Exception:
        return ""


def named(error: HflowError, *files: object) -> str:
    """What an error says, after the first of `files` unless it starts with one of them."""
    message = str(error)
    return message if not files or any(message.startswith(f"{file}:") for file in files) else f"{files[0]}: {message}"


def report(error: HflowError, *files: object) -> int:
    """Print what an error says, with one of `files` in front; return its exit code."""
    if os.environ.get("HFLOW_DEBUG") == "1":
        traceback.print_exception(error)
    if not isinstance(error, Unread):
        say(named(error, *files))
    return error.exit_code


def quit_quietly() -> int:
    """The exit code after Ctrl-C; ends the line on which the terminal printed ^C."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(file=sys.stderr)
    return INTERRUPTED
