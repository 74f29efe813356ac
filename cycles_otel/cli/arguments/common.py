"""What the parsers of all commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from cycles_otel.addresses import is_http_address

_LARGEST = 2**63 - 1
"""The most that the server can hold."""


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


def whole_number(minimum: int) -> Callable[[str], int]:
    """Accepts whole numbers from ``minimum`` on."""

    def accepted(text: str) -> int:
        if not text.isdecimal() or not minimum <= int(text) <= _LARGEST:
            raise argparse.ArgumentTypeError(f"{text!r} is not accepted: a whole number from {minimum} on")
        return int(text)

    return accepted


positive = whole_number(1)


def address(text: str) -> str:
    """The address of a page or a server."""
    if not is_http_address(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted: an address that begins with http:// or https://")
    return text


def seconds(text: str) -> float:
    """A number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted: a number of seconds above 0")
    return value
