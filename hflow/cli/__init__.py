"""The command line, one module per command; they are loaded when they are used."""

from __future__ import annotations

import warnings
from importlib import import_module

import click

from hflow import __version__
from hflow.cli.program import Program
from hflow.cli.streams import echo
from hflow.errors import HflowError

COMMANDS = ("encode", "decode", "truncate", "inspect", "show", "compare", "models", "bench", "selftest", "completion")


class Commands(Program, click.Group):
    """A group whose commands are modules of this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return import_module(f"hflow.cli.{name}").command if name in COMMANDS else None


def _versions(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    """hflow, torch and the bundle that new files are made with, without loading any of them."""
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    from hflow import bundles

    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "not installed"
    try:
        default = bundles.listing()[-1:]
        bundle = f"{default[0].name} ({default[0].number})" if default else "none installed"
    except HflowError as error:
        bundle = str(error)
    echo(f"hflow {__version__}\ntorch {torch}\nbundle {bundle}")
    ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_versions, help="Show the versions and exit."
)
def main() -> None:
    """An image codec for extreme low bitrates: 0.005 to 0.15 bits per pixel."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what counts of a picture's flaws is said in our own words
