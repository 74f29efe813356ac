"""``cycles-otel completion``: what it takes."""

from __future__ import annotations

from cycles_otel.cli import commands
from cycles_otel.cli.arguments.common import Subparsers, Wide

SHELLS = ("bash", "zsh", "fish", "tcsh")

_COMPLETION = """\
Prints what lets a shell complete the commands and options of cycles-otel, and the files that these take.
"""
_EXAMPLES = """\
examples:
  eval "$(cycles-otel completion bash)"        for this shell; in ~/.bashrc for all
  cycles-otel completion zsh > "${fpath[1]}/_cycles-otel"
  cycles-otel completion fish > ~/.config/fish/completions/cycles-otel.fish
  cycles-otel completion tcsh > ~/.cycles-otel.tcsh; source ~/.cycles-otel.tcsh
"""


def add(subparsers: Subparsers) -> None:
    """``cycles-otel completion``."""
    completion = subparsers.add_parser(
        "completion",
        help="let a shell complete commands and options",
        description=_COMPLETION,
        epilog=_EXAMPLES,
        formatter_class=Wide,
    )
    completion.add_argument("shell", choices=SHELLS, help="the shell")
    completion.set_defaults(command=commands.completion, program=completion.prog)
