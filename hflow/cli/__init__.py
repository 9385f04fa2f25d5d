"""The command line: `hflow encode`, `decode`, `inspect`, `bench`. Commands are loaded when they are used."""

from __future__ import annotations

from importlib import import_module

import click

from hflow import __version__
from hflow.cli.errors import quit_quietly, report
from hflow.errors import HflowError

COMMANDS = ("encode", "decode", "inspect", "bench")


class Commands(click.Group):
    """A group whose commands are modules of this package, and whose errors are one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return import_module(f"hflow.cli.{name}").command if name in COMMANDS else None

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except HflowError as error:
            ctx.exit(report(error))
        except KeyboardInterrupt:
            ctx.exit(quit_quietly())


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hflow")
def main() -> None:
    """An image codec for extreme low bitrates: 0.005 to 0.15 bits per pixel."""
