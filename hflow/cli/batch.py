"""Through the jobs of a command, one after another: read, written, reported, skipped. A failure stops no other.

Files are not done side by side: torch uses all cores for one. On two cores a picture takes 0.8 s to encode with two
threads and 1.5 s with one, so two at a time would gain little and load the model twice.
"""

from __future__ import annotations

import errno
import functools
import json
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hflow.cli.errors import report, say
from hflow.cli.plan import Job, Naming, folder, plan
from hflow.cli.progress import Bar
from hflow.errors import HflowError, InputError, OutputError

__all__ = ["Job", "Options", "Result", "folder", "many", "read", "run"]

Watch = Callable[[int], Callable[[float], None] | None]


@dataclass(frozen=True)
class Options:
    """What the options that `many` adds say."""

    output: str | None
    output_dir: str | None
    name: str | None
    recursive: bool
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
            click.option("--skip-existing", is_flag=True, help="Do only what is missing, so as to resume."),
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
    and {ext}. work: reads, does and writes a job; calls its second argument with the pixels, for what to tell progress.
    """
    output = how.output_dir or how.output
    naming = Naming(output, bool(how.output_dir), how.name, suffix, fields)
    jobs = plan(inputs, naming, known, how.recursive)
    if how.json_lines and any(job.target is None for job in jobs):
        raise click.UsageError("--json-lines needs standard output for itself.")
    skipped = {job for job in jobs if how.skip_existing and job.target and job.target.exists()}
    codes, started = [], time.perf_counter()
    with Bar(len(jobs) - len(skipped), how.quiet) as bar:
        for job in jobs:
            if job in skipped:
                _say(job, how, {"status": "skipped"}, "exists, skipped" if how.verbose else None)
                continue
            began = time.perf_counter()
            try:
                _check(job, how.force, suffix == ".txt")
                done = work(job, functools.partial(bar.watch, job.name))
                seconds = time.perf_counter() - began
                bar.count(done.pixels, done.bpp)
                about = {
                    "status": "done", "width": done.width, "height": done.height, "bytes": done.size, "bpp": done.bpp,
                    "seconds": round(seconds, 4),
                }  # fmt: skip
                if done.salvaged:
                    about["salvaged"] = done.salvaged
                pace = f"  {seconds:.2f} s  {done.pixels / seconds / 1e6:.2f} MP/s" if how.verbose else ""
                _say(job, how, about, done.text + pace)
            except HflowError as error:
                bar.fail()
                codes.append(report(error, Path(job.name), job.target or Path("stdout")))
                _say(job, how, {"status": "failed", "error": " ".join(str(error).split()), "code": codes[-1]}, None)
    if how.verbose:
        say(f"{bar.summary}, {len(codes)} failed, {len(skipped)} skipped, {time.perf_counter() - started:.1f} s")
    elif skipped and not how.quiet:
        say(f"{len(skipped)} of {len(jobs)} files skipped: their outputs exist")
    click.get_current_context().exit(codes[0] if codes else 0)


def read(source: Path | None) -> bytes:
    """A whole file, or all of standard input; InputError if that fails."""
    try:
        return sys.stdin.buffer.read() if source is None else source.read_bytes()
    except OSError as error:
        raise InputError(f"{source or 'stdin'}: {error.strerror or error}") from error


def write(job: Job, data: bytes, force: bool) -> None:
    """The output of a job: a file, whole or not at all, or standard output; OutputError if that fails."""
    from hflow.images import save_atomic

    if job.target:
        save_atomic(job.target, data, force)
        return
    stream = sys.stdout.buffer
    try:
        stream.write(data)
        stream.flush()
    except OSError as error:
        if error.errno == errno.EPIPE:  # nobody reads on: click ends the program quietly
            raise
        raise OutputError(f"stdout: {error.strerror or error}") from error


def _check(job: Job, force: bool, text: bool) -> None:
    """OutputError if the output cannot be kept, before the work is done."""
    if job.target:
        from hflow.images import check_output

        check_output(job.target, force)
    elif sys.stdout.buffer.isatty() and not text:
        raise OutputError("stdout: is a terminal, which cannot show a file; name one with -o")


def _say(job: Job, how: Options, about: dict[str, Any], text: str | None) -> None:
    """The line on a job; where standard output is taken by data, only if wanted, and on stderr."""
    if how.json_lines:
        click.echo(json.dumps({"input": job.name, "output": str(job.target), **about}))
    elif text and job.target and not how.quiet:
        click.echo(f"{job.name} -> {job.target}  {text}")
    elif text and how.verbose:
        say(f"{job.name} -> stdout  {text}")
