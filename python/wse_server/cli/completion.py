"""`wse completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from wse_server.cli.output import write_line

__all__ = ["completion"]

_SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command()
@click.argument("shell", type=click.Choice(tuple(_SHELLS)))
def completion(shell: str) -> None:
    r"""Print the script that completes `wse` in a shell.

    \b
    bash:  wse completion bash > ~/.local/share/bash-completion/completions/wse
    zsh:   wse completion zsh > "${fpath[1]}/_wse"
    fish:  wse completion fish > ~/.config/fish/completions/wse.fish
    """
    root = click.get_current_context().find_root().command
    # Of bash its own method looks for one on this machine, which may be another than the one it is for.
    write_line(ShellComplete.source(_SHELLS[shell](root, {}, "wse", "_WSE_COMPLETE")))
