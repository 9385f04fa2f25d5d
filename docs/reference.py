"""The reference pages out of the code's own help and docstrings: `python docs/reference.py`.

Writes docs/cli.md and docs/api.md, so that they can be read on a code host as well as on the site. A test tells when
they are out of date.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click

import hflow
import hflow.container
import hflow.images
import hflow.pillow
import hflow.text
from hflow import errors
from hflow.cli import main
from hflow.cli.man import exit_codes

HERE = Path(__file__).parent
PUBLIC = sorted(hflow.__all__, key=lambda name: ("encode" not in name, name))
FUNCTIONS: tuple[Callable, ...] = (
    *filter(callable, (getattr(hflow, name) for name in PUBLIC)),
    hflow.images.load,
    hflow.text.to_text,
    hflow.text.from_text,
    hflow.container.parse,
)


def cli() -> str:
    """The page of all commands."""
    head = """# Command line reference

What `hflow COMMAND -h` says. This page is written by `python docs/reference.py`.
"""
    codes = "".join(f"| {code} | {meaning} |\n" for code, meaning in sorted(exit_codes().items()))
    return f"{head}{''.join(commands(main))}\n## Exit codes\n\n| code | meaning |\n|---|---|\n{codes}"


def commands(command: click.Command, parent: click.Context | None = None) -> Iterator[str]:
    """The section of a command, then those of all below it."""
    ctx = click.Context(
        command, info_name=command.name if parent else "hflow", parent=parent, **command.context_settings
    )
    yield section(ctx)
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            if sub := command.get_command(ctx, name):
                yield from commands(sub, ctx)


def section(ctx: click.Context) -> str:
    """A command's usage, help and options."""
    usage = " ".join([ctx.command_path, *ctx.command.collect_usage_pieces(ctx)])
    records = [p.get_help_record(ctx) for p in ctx.command.get_params(ctx) if isinstance(p, click.Option)]
    rows = "".join(f"- `{term}`: {' '.join(text.split())}".rstrip(": ") + "\n" for term, text in filter(None, records))
    about = [*prose(ctx.command.help), *prose(ctx.command.epilog)]
    return "\n" + "\n".join([f"## {ctx.command_path}\n", f"```text\n{usage}\n```\n", *about, rows])


def prose(help: str | None) -> Iterator[str]:
    """Paragraphs of a help text; those that start with click's mark are kept line by line."""
    for paragraph in inspect.cleandoc(help or "").split("\n\n"):
        kept = paragraph.removeprefix("\b").strip()
        if kept != paragraph:
            yield f"```text\n{kept}\n```\n"
        elif paragraph:
            yield paragraph + "\n"


def api() -> str:
    """The page of what Python programs call."""
    head = """# Python reference

What `help()` says of what programs use; [Python](python.md) shows it at work. This page is written by
`python docs/reference.py`.
"""
    functions = "".join(function(f) for f in FUNCTIONS)
    about = re.sub(r"(^>>> .*\n)+\n", "", inspect.getdoc(hflow.pillow) or "", flags=re.MULTILINE)  # python.md shows it
    kinds = [e for _, e in inspect.getmembers(errors, inspect.isclass) if issubclass(e, errors.HflowError)]
    rows = "".join(f"| `{e.__name__}` | {e.exit_code} | {inspect.getdoc(e)} |\n" for e in sorted(kinds, key=exit_code))
    table = f"| class of `hflow.errors` | exit code | meaning |\n|---|---|---|\n{rows}"
    return f"{head}{functions}\n## hflow.pillow\n\n{about}\n\n## Errors\n\n{table}"


def function(f: Callable) -> str:
    """A function's signature and docstring."""
    module = "hflow" if f.__name__ in hflow.__all__ else f.__module__.removesuffix(".parse")
    doc, names = inspect.getdoc(f) or "", "|".join(inspect.signature(f).parameters)
    doc = re.sub(rf"(?<!\w)({names}):", r"`\1`:", doc)
    return f"\n## {module}.{f.__name__}\n\n```text\n{signature(f)}\n```\n\n{doc}\n"


def signature(f: Callable) -> str:
    """A signature, one parameter a line where it is long."""
    found = inspect.signature(f)
    parts = []
    for p in found.parameters.values():
        if p.kind is p.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        default = "" if p.default is p.empty else f" = {p.default!r}"
        parts.append(f"{p.name}: {p.annotation}{default}")
    line = f"{f.__name__}({', '.join(parts)}) -> {found.return_annotation}"
    if len(line) <= 88:
        return line
    return f"{f.__name__}(\n" + "".join(f"    {part},\n" for part in parts) + f") -> {found.return_annotation}"


def exit_code(e: type[errors.HflowError]) -> int:
    return e.exit_code


PAGES = {"cli.md": cli, "api.md": api}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), "utf-8")
