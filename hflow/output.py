"""Writes files whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from hflow.errors import OutputError


def check_output(path: Path, force: bool) -> None:
    """Raise OutputError if `path` may not be written, so that nobody waits for a result that cannot be kept."""
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: exists and is not a regular file")
    if path.exists() and not force:
        raise OutputError(f"{path}: exists already (--force overwrites it)")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}")


def save_atomic(path: Path, data: bytes, force: bool = False) -> None:
    """Write a file so that `path` holds all of `data` or what it held before, whatever happens."""
    check_output(path, force)
    target = Path(os.path.realpath(path))  # a link keeps pointing where it did
    part = target.with_name(f".hflow-{secrets.token_hex(6)}.part")
    try:
        with open(part, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if force:
            os.replace(part, target)
        else:
            _publish(part, target)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _publish(part: Path, target: Path) -> None:
    """Give a finished file its name unless the name was taken meanwhile."""
    try:
        os.link(part, target)  # unlike a rename, fails if the name exists
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(17, "File exists") from None
        os.replace(part, target)
