"""The reference of the command line, as the parsers have it: ``python -m scripts.site.command_line``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from cycles_otel.cli.arguments import parser


def markdown() -> str:
    """Each command with its ``--help``, subcommands after their command."""
    return "\n".join(f"### {each.prog}\n\n```text\n{each.format_help()}```\n" for each in commands(parser()))


def commands(top: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser, and those of its commands."""
    yield top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from commands(each)


if __name__ == "__main__":
    print(markdown())
