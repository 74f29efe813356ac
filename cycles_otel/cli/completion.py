"""``cycles-otel completion``: what a shell has to know of the parser."""

from __future__ import annotations

import argparse

import shtab

_WHAT = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """What ``shell`` reads; where an argument names a file or a folder, it completes that, too."""
    _complete_paths(parser)
    return shtab.complete(parser, shell)


def _complete_paths(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete_paths(command)
        elif isinstance(action.metavar, str) and action.metavar in _WHAT:
            # The attribute that shtab looks for.
            action.complete = _WHAT[action.metavar]  # type: ignore[attr-defined]
