"""What the parsers of all commands share."""

from __future__ import annotations

import argparse
from typing import NoReturn, TypeAlias


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where to read more."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


Subparsers: TypeAlias = "argparse._SubParsersAction[Parser]"


class Wide(argparse.RawDescriptionHelpFormatter):
    """Keeps our own line breaks, and puts the help of an option beside it."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=118)


def print_help(top: argparse.ArgumentParser, _: argparse.Namespace) -> int:
    """What a command says that needs a word more."""
    top.print_help()
    return 0


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted: a whole number from 1 on")
    return int(text)


def seconds(text: str) -> float:
    """A number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted: a number of seconds above 0")
    return value
