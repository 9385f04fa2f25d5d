"""From the words on the command line to jobs: which files to read, and what the outputs are called."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

import click

from hflow.errors import InputError, OutputError

STDIO = "-"


@dataclass(frozen=True)
class Job:
    """One file to read and one to write; None is standard input or output."""

    source: Path | None
    target: Path | None

    @property
    def name(self) -> str:
        """What messages call the input."""
        return "stdin" if self.source is None else str(self.source)


@dataclass(frozen=True)
class Naming:
    """Where outputs go and what they are called.

    output: a file, a folder, `-`, or None for beside the input. is_folder: `output` is one in any case. template: the
    file's name, with {stem} and {ext} of the input and the `fields`. suffix: what follows the stem without a template.
    """

    output: str | None
    is_folder: bool
    template: str | None
    suffix: str
    fields: Mapping[str, str]

    def file(self, source: Path | None) -> str:
        """The output's name without its folder."""
        stem, ext = (source.stem, source.suffix[1:]) if source else ("stdin", "")
        if self.template is None:
            return stem + self.suffix
        return self.template.format(stem=stem, ext=ext, **self.fields)

    def check(self) -> None:
        """A usage error for a template that names no file, or something unknown."""
        if self.template is None:
            return
        known = {"stem", "ext", *self.fields}
        try:
            unknown = [f for _, f, spec, turn in Formatter().parse(self.template) if f is not None and f not in known]
            named = self.template.format_map(dict.fromkeys(known, "x"))
        except (ValueError, KeyError, IndexError):
            unknown, named = [self.template], "x"
        if unknown:
            raise click.BadParameter(f"{unknown[0]!r} is not one of {', '.join(sorted(known))}.", param_hint="--name")
        if named in ("", ".", "..") or set(named) & {"/", os.sep}:
            raise click.BadParameter(f"{self.template!r} is not the name of a file.", param_hint="--name")


def plan(inputs: Sequence[str], naming: Naming, known: Collection[str], recursive: bool) -> list[Job]:
    """Pair inputs with outputs, and make the folders that the outputs go to.

    A folder stands for the files in it that have a `known` suffix, with `recursive` for those below too; they keep
    their place under an output folder. `-` is standard input, and patterns that the shell left are expanded. Two inputs
    with one output, or an output that is an input, are an error before anything is done.
    """
    naming.check()
    found = [pair for item in inputs for pair in _sources(item, known, recursive)]
    output = naming.output
    if output == STDIO and not naming.is_folder:
        if len(found) > 1:
            raise click.UsageError(f"standard output takes one file, not {len(found)}.")
        return [Job(found[0][0], None)]
    to_folder = output is not None and (
        naming.is_folder
        or naming.template is not None
        or output.endswith(("/", os.sep))
        or Path(output).is_dir()
        or len(inputs) != 1
        or Path(inputs[0]).is_dir()
        or _is_pattern(inputs[0])
    )
    jobs = []
    for source, below in found:
        if output is not None and not to_folder:
            target: Path | None = Path(output)
        elif output is not None:
            target = Path(output, below, naming.file(source))
        elif source is not None:
            target = source.with_name(naming.file(source))
        else:
            target = None
        jobs.append(Job(source, target))
    _check_distinct(jobs)
    if to_folder:
        for place in {job.target.parent for job in jobs if job.target}:
            folder(place)
    return jobs


def folder(path: str | Path) -> Path:
    """A folder to write to, made where it is missing; OutputError if that fails."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from error
    return Path(path)


def _sources(item: str, known: Collection[str], recursive: bool) -> Iterator[tuple[Path | None, Path]]:
    """The files that one word stands for, each with its place below a folder that was named."""
    path, top = Path(item), Path()
    if item == STDIO:
        yield None, top
    elif path.is_dir():
        files = _walk(path, known, recursive)
        if not files:
            kinds = "/".join(known) if len(known) == 1 else "image"
            raise InputError(f"{path}: no {kinds} files in this folder")
        yield from ((file, file.parent.relative_to(path)) for file in files)
    elif _is_pattern(item):
        matches = sorted(glob.glob(item, recursive=True))
        if not matches:
            raise InputError(f"{item}: no file has such a name")
        for match in matches:
            yield from _sources(match, known, recursive)
    else:
        yield path, top


def _is_pattern(item: str) -> bool:
    """Whether a word stands for the files that it matches: not where there is a file of this very name."""
    return glob.has_magic(item) and not Path(item).exists()


def _walk(top: Path, known: Collection[str], recursive: bool) -> list[Path]:
    def fail(error: OSError) -> None:
        raise InputError(f"{error.filename}: {error.strerror or error}") from error

    files = []
    for place, below, names in os.walk(top, onerror=fail):
        if not recursive:
            below.clear()
        files += [Path(place, name) for name in names if Path(name).suffix.lower() in known]
    return sorted(file for file in files if file.is_file())


def _check_distinct(jobs: Sequence[Job]) -> None:
    read_from = {os.path.realpath(job.source) for job in jobs if job.source}
    if sum(job.source is None for job in jobs) > 1:
        raise click.UsageError("standard input is one file, but was named twice.")
    written: dict[str | None, Job] = {}
    for job in jobs:
        real = os.path.realpath(job.target) if job.target else None
        if real in read_from:
            raise OutputError(f"{job.target}: is an input, and would be overwritten")
        if real in written:
            both = f"from {written[real].name} and from {job.name}"
            raise OutputError(f"{job.target or 'stdout'}: would be written twice, {both}")
        written[real] = job
