"""Manual pages out of the command line's own help: `python -m hflow.cli.man -o DIR`.

Written here because click-man sees no commands that are loaded late, and knows no exit codes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from hflow import __version__, errors
from hflow.cli import batch, main, options
from hflow.cli.program import Program
from hflow.output import save_atomic


def pages(command: click.Command, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Name, such as `hflow-encode`, and roff text of the page of a command and of all below it."""
    called = command.name if parent else "hflow"
    ctx = click.Context(command, info_name=called, parent=parent, **command.context_settings)
    name = ctx.command_path.replace(" ", "-")
    below: list[click.Command] = []
    if isinstance(command, click.Group):
        below = [c for n in command.list_commands(ctx) if (c := command.get_command(ctx, n))]
    yield name, page(ctx, name, below)
    for sub in below:
        yield from pages(sub, ctx)


def page(ctx: click.Context, name: str, below: list[click.Command]) -> str:
    """One page. below: the commands of a group."""
    command = ctx.command
    usage = " ".join(command.collect_usage_pieces(ctx))
    records = [p.get_help_record(ctx) for p in command.get_params(ctx) if isinstance(p, click.Option)]
    parts = [
        f'.TH "{name.upper()}" 1 "" "hflow {__version__}" "hflow"',
        f".SH NAME\n{name} \\- {text(command.get_short_help_str(200)).rstrip('.')}",
        f".SH SYNOPSIS\n.B {text(ctx.command_path)}\n{text(usage)}",
        f".SH DESCRIPTION\n{prose(command.help or '')}",
        section("OPTIONS", [r for r in records if r]),
        section("COMMANDS", [(f"{name}-{c.name}(1)", c.get_short_help_str(200)) for c in below]),
        f".SH NOTES\n{prose(command.epilog)}" if command.epilog else "",
        section("EXIT STATUS", [(str(code), meaning) for code, meaning in sorted(exit_codes().items())]),
    ]
    return "\n".join(p for p in parts if p) + "\n"


def exit_codes() -> dict[int, str]:
    """Code and meaning, the errors' from their own descriptions."""
    kinds = [e for _, e in inspect.getmembers(errors, inspect.isclass) if issubclass(e, errors.HflowError)]
    return {0: "Done.", 2: "Wrong usage.", 130: "Interrupted."} | {e.exit_code: inspect.getdoc(e) or "" for e in kinds}


def section(title: str, entries: list[tuple[str, str]]) -> str:
    """A list of terms and what they mean; nothing if there are none."""
    if not entries:
        return ""
    return f".SH {title}\n" + "\n".join(f".TP\n\\fB{text(term)}\\fR\n{text(meaning)}" for term, meaning in entries)


def prose(help: str) -> str:
    """Paragraphs of a help text; those that start with click's mark are kept line by line."""
    out = []
    for paragraph in inspect.cleandoc(help).split("\n\n"):
        kept = paragraph.startswith("\b")
        body = text(paragraph.removeprefix("\b").strip())
        out.append(f".nf\n{body}\n.fi" if kept else body)
    return "\n.PP\n".join(out)


def text(plain: str) -> str:
    """Plain text with everything escaped that roff would take for its own."""
    lines = plain.replace("\\", "\\e").replace("-", "\\-").splitlines()
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)


@click.command(cls=Program)
@click.option("-o", "--output", required=True, metavar="DIR", help="Folder for the pages.")
@options.force
def write(output: str, force: bool) -> None:
    """Write the manual pages of hflow."""
    folder = batch.folder(output)
    for name, roff in pages(main):
        save_atomic(Path(folder, f"{name}.1"), roff.encode(), force)


if __name__ == "__main__":
    write()
