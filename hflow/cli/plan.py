"""From the words on the command line to jobs: which files to read, and what the outputs are called."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import NamedTuple

import click

from hflow.errors import HflowError, InputError, OutputError
from hflow.output import descriptor, is_stream, reason

STDIO = "-"


@dataclass(frozen=True)
class Job:
    """One file to read and one to write; None is standard input or output.

    makes_folder: the target's folder is made where it is missing. problem: why there is nothing to read or write.
    """

    source: Path | None
    target: Path | None
    makes_folder: bool = False
    problem: HflowError | None = None

    @property
    def to_stdout(self) -> bool:
        """Whether the result goes to standard output."""
        return self.target is None and self.problem is None

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


class Found(NamedTuple):
    """A file to read, with its place below a folder that was named. None: standard input. problem: as in a Job."""

    source: Path | None
    below: Path = Path()
    problem: HflowError | None = None


def plan(inputs: Sequence[str], naming: Naming, known: Collection[str], recursive: bool) -> list[Job]:
    """Pair inputs with outputs.

    A folder stands for the files in it that have a `known` suffix, with `recursive` for those below too; they keep
    their place under an output folder. `-` is standard input, and patterns that the shell left are expanded. Two inputs
    with one output, or an output that is an input, are an error before anything is done. What cannot be searched, or
    has no files, is a job with a problem.
    """
    naming.check()
    found = [one for item in inputs for one in _sources(item, known, recursive)]
    output = naming.output
    if output is not None and not naming.is_folder and (output == STDIO or descriptor(output) == 1):
        if len(found) > 1:
            raise click.UsageError(f"standard output takes one file, not {len(found)}.")
        return [Job(one.source, None, problem=one.problem) for one in found]
    to_folder = output is not None and (naming.is_folder or _means_folder(output, naming, inputs))
    jobs = []
    for source, below, problem in found:
        target: Path | None = None
        name = naming.file(source)
        if problem is None and name in ("", ".", ".."):
            problem = OutputError(f"--name makes {name!r} of it, which is not the name of a file")
        if output is not None and not problem:
            target = Path(output, below, name) if to_folder else Path(output)
        elif source is not None and not problem and descriptor(source) is None:
            target = source.with_name(name)
        jobs.append(Job(source, target, to_folder, problem))
    _check_distinct([job for job in jobs if not job.problem])
    return jobs


def _means_folder(output: str, naming: Naming, inputs: Sequence[str]) -> bool:
    """Whether the name of an output is one of a folder, which need not exist."""
    if output.endswith(("/", os.sep)) or os.path.isdir(output):
        return True
    if is_stream(Path(output)):
        return False
    return naming.template is not None or len(inputs) != 1 or os.path.isdir(inputs[0]) or _is_pattern(inputs[0])


def folder(path: str | Path) -> Path:
    """A folder to write to, made where it is missing; OutputError if that fails."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: {reason(error)}") from error
    return Path(path)


def _sources(item: str, known: Collection[str], recursive: bool) -> Iterator[Found]:
    """The files that one word stands for."""
    if not item:
        raise click.UsageError("the name of an input is empty.")
    path = Path(item)
    if item == STDIO:
        yield Found(None)
    elif "\0" in item:  # which no shell can say, but a program
        yield Found(path, problem=InputError("no file can have such a name"))
    elif os.path.isdir(item):
        yield from _walk(path, known, recursive)
    elif _is_pattern(item):
        matches = [match for match in sorted(glob.glob(item, recursive=True)) if not _is_fork(match) or _is_fork(item)]
        if not matches:
            yield Found(path, problem=InputError("no file has such a name"))
        for match in matches:
            yield from _sources(match, known, recursive)
    else:
        yield Found(path)


def _is_pattern(item: str) -> bool:
    """Whether a word stands for the files that it matches: not where there is a file of this very name."""
    return glob.has_magic(item) and "\0" not in item and not os.path.lexists(item)


def _walk(top: Path, known: Collection[str], recursive: bool) -> list[Found]:
    """The files of a folder, and the folders that cannot be searched; or that there are none."""
    found: list[Found] = []

    def fail(error: OSError) -> None:
        found.append(Found(Path(error.filename), problem=InputError(reason(error))))

    for place, below, names in os.walk(top, onerror=fail):
        if not recursive:
            below.clear()
        folder = Path(place)
        files = [folder / name for name in names if Path(name).suffix.lower() in known and not _is_fork(name)]
        found += [Found(file, folder.relative_to(top)) for file in files if _may_be_file(file)]
    if not found:
        kinds = "/".join(known) if len(known) == 1 else "image"
        return [Found(top, problem=InputError(f"no {kinds} files in this folder"))]
    return sorted(found, key=lambda one: one.source or top)


def _is_fork(name: str) -> bool:
    """Whether a file is what macOS leaves beside another on foreign disks (AppleDouble): ._photo.jpg is no picture."""
    return os.path.basename(name).startswith("._")


def _may_be_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:  # a link to nothing
        return False
    except OSError:  # told when its turn comes
        return True


def _check_distinct(jobs: Sequence[Job]) -> None:
    read_from = {_real(job.source) for job in jobs if job.source}
    if sum(job.source is None for job in jobs) > 1:
        raise click.UsageError("standard input is one file, but was named twice.")
    written: dict[str | None, Job] = {}
    for job in jobs:
        real = _real(job.target) if job.target else None
        if real in read_from:
            raise OutputError(f"{job.target}: is an input, and would be overwritten")
        if real in written:
            both = f"from {written[real].name} and from {job.name}"
            raise OutputError(f"{job.target or 'stdout'}: would be written twice, {both}")
        written[real] = job


def _real(path: Path) -> str:
    """What a path leads to, by which two of them are compared."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # said where it is used
        return str(path)
