"""Writes files whole or not at all, and what is no file as it comes."""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from hflow.errors import OutputError

_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})|/dev/(stdin|stdout|stderr)")


def reason(error: Exception) -> str:
    """What the system says of a failure, without the name of the file."""
    return getattr(error, "strerror", None) or str(error)


def is_stream(path: Path) -> bool:
    """Whether a path is written straight: /dev/null and other devices, named pipes, open descriptors (/dev/fd/3)."""
    try:
        return descriptor(path) is not None or _is_straight(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def descriptor(path: str | Path) -> int | None:
    """The number of the open file that a path such as /dev/stdout or /dev/fd/3 stands for."""
    found = _DESCRIPTOR.fullmatch(os.path.normpath(path))
    return found and int(found[1] or ("stdin", "stdout", "stderr").index(found[2]))


def _is_straight(mode: int) -> bool:
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def check_output(path: Path, force: bool) -> None:
    """Raise OutputError if `path` may not be written, so that nobody waits for a result that cannot be kept."""
    try:
        number = descriptor(path)
        mode = (os.stat(path) if number is None else os.fstat(number)).st_mode
    except (FileNotFoundError, NotADirectoryError):
        if not os.path.isdir(path.parent):
            raise OutputError(f"{path}: there is no folder {path.parent}") from None
        return
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: {reason(error)}") from error
    if number is not None or _is_straight(mode):
        return
    if not stat.S_ISREG(mode):
        raise OutputError(f"{path}: exists and is not a regular file")
    if not force:
        raise OutputError(f"{path}: exists already (--force overwrites it)")


def save_atomic(path: Path, data: bytes, force: bool = False) -> None:
    """Write a file so that `path` holds all of `data` or what it held before, whatever happens.

    A file that is replaced leaves its mode to the new one and, where this may be given, its owner and group. Devices,
    named pipes and open descriptors are not replaced but written to; BrokenPipeError where nobody reads on.
    """
    check_output(path, force)
    if is_stream(path):
        _write_straight(path, data)
        return
    target = Path(os.path.realpath(path))  # a link keeps pointing where it did
    part = target.with_name(f".hflow-{secrets.token_hex(6)}.part")
    try:
        older = _stat(target) if force else None
        with open(part, "xb", opener=None if older is None else _open_private) as file:
            if older is not None:
                _hand_down(older, file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if force:
            os.replace(part, target)
        else:
            _publish(part, target)
    except OSError as error:
        raise OutputError(f"{path}: {reason(error)}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _write_straight(path: Path, data: bytes) -> None:
    try:
        # A descriptor's own place in its file counts, so it is not opened again.
        number = descriptor(path)
        opened = os.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0)) if number is None else os.dup(number)
        with open(opened, "wb") as file:
            file.write(data)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: {reason(error)}") from error


def _stat(target: Path) -> os.stat_result | None:
    try:
        return os.stat(target)
    except FileNotFoundError:
        return None


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _hand_down(older: os.stat_result, file: int) -> None:
    """Owner, group and mode of a file to the one that takes its place; the mode last, so that nobody else may read."""
    if hasattr(os, "fchown"):
        try:
            os.fchown(file, older.st_uid, older.st_gid)
        except OSError:
            with suppress(OSError):
                os.fchown(file, -1, older.st_gid)
    if hasattr(os, "fchmod"):
        with suppress(OSError):
            os.fchmod(file, stat.S_IMODE(older.st_mode) & 0o777)  # not the right to run as somebody


def _publish(part: Path, target: Path) -> None:
    """Give a finished file its name unless the name was taken meanwhile."""
    try:
        os.link(part, target)  # unlike a rename, fails if the name exists
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(17, "File exists") from None
        os.replace(part, target)
