"""What the user sees of an error: one line on stderr and an exit code. HFLOW_DEBUG=1 adds the traceback."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import click

from hflow.errors import HflowError

INTERRUPTED = 130  # what a shell reports for Ctrl-C


def report(error: HflowError, *files: Path) -> int:
    """Print the error, after the first of `files` unless the message starts with one of them; return its exit code."""
    if os.environ.get("HFLOW_DEBUG") == "1":
        traceback.print_exception(error)
    message = " ".join(str(error).split())
    named = not files or any(message.startswith(f"{file}:") for file in files)
    say(message if named else f"{files[0]}: {message}")
    return error.exit_code


def say(message: str) -> None:
    """Print one line on stderr."""
    click.echo(f"hflow: {message}", err=True)


def quit_quietly() -> int:
    """The exit code after Ctrl-C; ends the line on which the terminal printed ^C."""
    if sys.stderr.isatty():
        click.echo(err=True)
    return INTERRUPTED
