"""From the files and folders on the command line to jobs, and through them: one failure does not stop the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from hflow.cli.errors import report
from hflow.cli.progress import Bar
from hflow.errors import HflowError, InputError, OutputError


@dataclass(frozen=True)
class Job:
    """One file to read and one to write."""

    index: int
    source: Path
    target: Path


def plan(inputs: Sequence[Path], output: str | None, suffix: str, known: Collection[str]) -> list[Job]:
    """Pair inputs with outputs named `*suffix`; folders stand for the files in them that have a `known` suffix.

    Two inputs with one output, or an output that is an input, are an error before anything is done.
    """
    sources = [file for item in inputs for file in (_files(item, known) if item.is_dir() else [item])]
    single = len(inputs) == 1 and not inputs[0].is_dir()
    if output is None:
        targets = [source.with_suffix(suffix) for source in sources]
    elif single and not Path(output).is_dir() and not output.endswith(("/", os.sep)):
        targets = [Path(output)]
    else:
        place = folder(output)
        targets = [place / source.with_suffix(suffix).name for source in sources]
    _check_distinct(sources, targets)
    return [Job(*pair) for pair in zip(range(len(sources)), sources, targets, strict=True)]


def run(jobs: Sequence[Job], work: Callable[[Job, Bar], str], quiet: bool) -> None:
    """Do all jobs, print the line that `work` returns for each, and exit with the code of the first failure."""
    codes = []
    with Bar(len(jobs), quiet) as bar:
        for job in jobs:
            try:
                line = work(job, bar)
                bar.hide()
                if not quiet:
                    click.echo(line)
            except HflowError as error:
                bar.hide()
                codes.append(report(error, job.source, job.target))
    click.get_current_context().exit(codes[0] if codes else 0)


def read(path: Path) -> bytes:
    """A whole file; InputError if that fails."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _files(folder: Path, known: Collection[str]) -> list[Path]:
    try:
        files = sorted(f for f in folder.iterdir() if f.suffix.lower() in known and f.is_file())
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror or error}") from error
    if not files:
        raise InputError(f"{folder}: no {'/'.join(known) if len(known) == 1 else 'image'} files in this folder")
    return files


def folder(output: str) -> Path:
    """A folder to write to, made where it is missing; OutputError if that fails."""
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: {error.strerror or error}") from error
    return Path(output)


def _check_distinct(sources: Sequence[Path], targets: Sequence[Path]) -> None:
    read_from = {os.path.realpath(source) for source in sources}
    written: dict[str, Path] = {}
    for source, target in zip(sources, targets, strict=True):
        real = os.path.realpath(target)
        if real in read_from:
            raise OutputError(f"{target}: is an input, and would be overwritten")
        if real in written:
            raise OutputError(f"{target}: would be written twice, from {written[real]} and from {source}")
        written[real] = source
