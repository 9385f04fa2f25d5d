"""Through the jobs of a command: read, done, written side by side; reported in order. A failure stops no other."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hflow.cli import streams
from hflow.cli.errors import as_error, report
from hflow.cli.plan import Job, Naming, folder, plan
from hflow.cli.progress import Bar
from hflow.cli.streams import say, shown
from hflow.errors import HflowError, InputError
from hflow.output import check_output, is_stream, reason, save_atomic

__all__ = ["Job", "Options", "Result", "Watch", "folder", "many", "read", "run"]


JOBS = "Files at once; their bytes do not depend on it. [default: one for each core, 8 at most]"
RESUME = "Keep outputs that exist and do the rest: run a command again with it to finish what was stopped."


@dataclass(frozen=True)
class Options:
    """What the options that `many` adds say."""

    output: str | None
    output_dir: str | None
    name: str | None
    recursive: bool
    jobs: int | None
    skip_existing: bool
    force: bool
    json_lines: bool
    verbose: bool
    quiet: bool


@dataclass(frozen=True)
class Result:
    """What came of a job: the picture's size, the bytes of its .hfc file, what to say of it, and of damage to it."""

    width: int
    height: int
    size: int
    text: str
    salvaged: str | None = None

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def bpp(self) -> float:
        return 8 * self.size / self.pixels


class Watch:
    """What a job says while it runs."""

    def __init__(self, job: Job, bar: Bar) -> None:
        self.job, self.bar = job, bar
        self.notes: list[str] = []

    def __call__(self, pixels: int, slow: bool = False) -> Callable[[float], None] | None:
        """A picture of this size begins: what to tell the share done, if anyone looks. slow: it takes a while."""
        return self.bar.watch(shown(self.job.name), pixels, slow)

    def say(self, text: str) -> None:
        """How it goes, for the bar."""
        self.bar.say(shown(self.job.name), text)

    def note(self, text: str) -> None:
        """Something to know about the file, said on stderr when its turn comes."""
        self.notes.append(text)


@dataclass(frozen=True)
class _Outcome:
    """How a job ended. found: its result or why it failed. seconds: from reading to writing."""

    job: Job
    notes: list[str]
    found: Result | HflowError
    seconds: float


def many(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of commands that work on many files; the command gets them as one argument, `how`."""
    names = Options.__dataclass_fields__

    @functools.wraps(command)
    def inner(**values: Any) -> None:
        how = Options(**{name: values.pop(name) for name in names})
        for one, other in (("output", "output_dir"), ("skip_existing", "force"), ("verbose", "quiet")):
            if getattr(how, one) and getattr(how, other):
                flags = [f"--{name.replace('_', '-')}" for name in (one, other)]
                raise click.UsageError(f"{flags[0]} and {flags[1]} exclude each other.")
        command(**values, how=how)

    for option in reversed(
        (
            click.option("-o", "--output", metavar="OUT", help="A file, a folder, or - for stdout. [default: beside]"),
            click.option("--output-dir", metavar="DIR", help="A folder; made where it is missing."),
            click.option("--name", metavar="TEMPLATE", help='Names of the outputs, such as "{stem}-{ext}.hfc".'),
            click.option("-r", "--recursive", is_flag=True, help="Folders with all below; their tree is kept."),
            click.option("-j", "--jobs", type=click.IntRange(1), metavar="N", help=JOBS),
            click.option("--skip-existing", is_flag=True, help=RESUME),
            click.option("--force", is_flag=True, help="Overwrite existing files."),
            click.option("--json-lines", is_flag=True, help="A JSON object for each file on stdout."),
            click.option("-v", "--verbose", is_flag=True, help="Times, skipped files and a summary too."),
            click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
        )
    ):
        inner = option(inner)
    return inner


def run(
    inputs: Sequence[str], how: Options, suffix: str, known: Collection[str], fields: Mapping[str, str],
    work: Callable[[Job, Watch], Result],
) -> None:  # fmt: skip
    """Plan and do all jobs, say what came of each, and exit with the code of the first failure.

    suffix: of outputs. known: suffixes of the files that count in a folder. fields: what --name may use beside {stem}
    and {ext}. work: reads, does and writes a job, in any thread; says what there is to say through its second argument.
    """
    output = how.output_dir or how.output
    naming = Naming(output, bool(how.output_dir), how.name, suffix, fields)
    jobs = plan(inputs, naming, known, how.recursive)
    if how.json_lines and any(job.to_stdout for job in jobs):
        raise click.UsageError("--json-lines needs standard output for itself.")
    skipped = {job for job in jobs if how.skip_existing and job.target and _exists(job.target)}
    codes, started = [], time.perf_counter()
    with Bar(len(jobs) - len(skipped), how.quiet) as bar:

        def attempt(job: Job) -> _Outcome:
            watch, began = Watch(job, bar), time.perf_counter()
            found: Result | HflowError
            try:
                _check(job, how.force, suffix == ".txt")
                found = work(job, watch)
            except Exception as error:
                found = as_error(error)
            return _Outcome(job, watch.notes, found, time.perf_counter() - began)

        with closing(_all([job for job in jobs if job not in skipped], attempt, how.jobs)) as outcomes:
            for job in jobs:
                if job in skipped:
                    with bar.aside():
                        _say(job, how, {"status": "skipped"}, "exists, skipped" if how.verbose else None)
                    continue
                outcome = next(outcomes)
                with bar.aside():
                    if code := _tell(outcome, how, bar):
                        codes.append(code)
    if how.verbose:
        say(f"{bar.summary}, {len(codes)} failed, {len(skipped)} skipped, {time.perf_counter() - started:.1f} s")
    elif skipped and not how.quiet:
        say(f"{len(skipped)} of {len(jobs)} files skipped: their outputs exist")
    click.get_current_context().exit(codes[0] if codes else 0)


def _all(jobs: Sequence[Job], attempt: Callable[[Job], _Outcome], at_once: int | None) -> Generator[_Outcome]:
    """The outcomes of all jobs, in order; torch is loaded only where several are done at once."""
    if len(jobs) < 2 or at_once == 1:
        yield from map(attempt, jobs)
        return
    from hflow.codec.batch import default_jobs, in_order

    yield from in_order(attempt, jobs, min(at_once or default_jobs(), len(jobs)))


def _tell(outcome: _Outcome, how: Options, bar: Bar) -> int:
    """Count a job and say what came of it; returns its exit code."""
    job, done = outcome.job, outcome.found
    for note in () if how.quiet else outcome.notes:
        say(f"{job.name}: {note}")
    if isinstance(done, HflowError):
        bar.fail(shown(job.name))
        code = report(done, job.name, job.target or "stdout")
        _say(job, how, {"status": "failed", "error": str(done), "code": code}, None)
        return code
    bar.count(shown(job.name), done.pixels, done.bpp)
    about = {
        "status": "done", "width": done.width, "height": done.height, "bytes": done.size, "bpp": done.bpp,
        "seconds": round(outcome.seconds, 4),
    }  # fmt: skip
    if done.salvaged:  # said even with --quiet: damage is an error, and the exit code does not tell
        say(f"{job.name}: {done.salvaged}")
        about["salvaged"] = done.salvaged
    pace = f"  {outcome.seconds:.2f} s  {done.pixels / outcome.seconds / 1e6:.2f} MP/s" if how.verbose else ""
    _say(job, how, about, done.text + pace)
    return 0


def read(source: Path | None) -> bytes:
    """A whole file, or all of standard input; InputError if that fails."""
    if source is None:
        return streams.read()
    try:
        return source.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{source}: {reason(error)}") from error


def write(job: Job, data: bytes, force: bool) -> None:
    """The output of a job: a file, whole or not at all, or standard output; OutputError if that fails."""
    if job.target:
        save_atomic(job.target, data, force)
    else:
        streams.put(data)


def check_source(path: Path) -> None:
    """InputError if there is nothing to read, which is looked at before outputs are. It is not opened."""
    try:
        os.stat(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {reason(error)}") from error


def _check(job: Job, force: bool, text: bool) -> None:
    """An error if there is no input, or if the output cannot be kept, before the work is done."""
    if job.problem:
        raise job.problem
    if job.source:
        check_source(job.source)
    if job.target is None:
        streams.check_stdout(text)
        return
    if job.makes_folder:
        folder(job.target.parent)
    check_output(job.target, force)


def _exists(target: Path) -> bool:
    return os.path.exists(target) and not is_stream(target)


def _say(job: Job, how: Options, about: dict[str, Any], text: str | None) -> None:
    """The line on a job; where standard output is taken by data, only if wanted, and on stderr."""
    if how.json_lines:
        output = None if job.target is None else str(job.target)
        streams.echo(json.dumps({"input": job.name, "output": output, **about}))
    elif text and job.target and not how.quiet:
        streams.line(f"{job.name} -> {job.target}  {text}")
    elif text and how.verbose:
        say(f"{job.name} -> stdout  {text}")
