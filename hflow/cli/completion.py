"""`hflow completion`: the script with which a shell completes hflow's commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from hflow.cli.streams import echo

SHELLS = {
    "bash": 'eval "$(hflow completion bash)"   in ~/.bashrc',
    "zsh": 'eval "$(hflow completion zsh)"   in ~/.zshrc',
    "fish": "hflow completion fish > ~/.config/fish/completions/hflow.fish",
}


@click.command("completion", epilog="\b\nTo switch it on:\n" + "\n".join(SHELLS.values()))
@click.argument("shell", type=click.Choice(list(SHELLS)))
def command(shell: str) -> None:
    """Print the completion script of a shell."""
    from hflow.cli import main

    found = get_completion_class(shell)
    assert found is not None
    echo(found(main, {}, "hflow", "_HFLOW_COMPLETE").source())
