"""A command that ends as every program of hflow does: with an exit code and, where something is wrong, with a line."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import click

from hflow.cli import streams
from hflow.cli.errors import as_error, quit_quietly, report


class Program(click.Command):
    """Turns every exception into a line and an exit code, in any state of the standard streams."""

    def main(self, *args: Any, **options: Any) -> Any:
        with streams.guarded(), warnings.catch_warnings():
            if not sys.warnoptions:  # for programmers; what a user has to know is a note
                warnings.simplefilter("ignore")
            try:
                return super().main(*args, **options)
            except SystemExit as end:  # the only end in click's standalone mode
                if end.code in (0, None) and (error := streams.failure()):
                    raise SystemExit(report(error)) from None
                raise
            except Exception as error:  # while the words of the command line are looked at
                raise SystemExit(report(as_error(error))) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(quit_quietly())
        except Exception as error:
            ctx.exit(report(as_error(error)))
