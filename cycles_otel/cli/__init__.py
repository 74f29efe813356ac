"""The command line: ``cycles-otel demo | serve | doctor | journal | exporter | dashboards | completion``."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from cycles_otel.cli.arguments import parser

WRONG_INPUT = 2
INTERRUPTED = 130
BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit status: 2 for wrong input, 130 after Ctrl-C.

    Parameters
    ----------
    arguments: what stands after the command's name, by default what the shell gave.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal has no letters for is shown somehow, as on standard error, and ends nothing.
        sys.stdout.reconfigure(errors="backslashreplace")
    parsed = parser().parse_args(arguments)
    try:
        return int(parsed.command(parsed))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Who read our output is gone; what Python still wants to flush at exit must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (ImportError, OSError, ValueError) as error:
        if not _is_wrong_input(error):
            raise
        print(f"{parsed.program}: {_in_words(error)}", file=sys.stderr)
        return WRONG_INPUT


def _is_wrong_input(error: Exception) -> bool:
    """Whether the caller can mend it; anything else is a fault of the program, and its traceback is wanted."""
    if isinstance(error, OSError) or hasattr(error, "parameter"):
        return True
    from cycles_otel.errors import MissingExtraError  # which takes long to import

    return isinstance(error, MissingExtraError)


def _in_words(error: Exception) -> str:
    """The error without its number; where it is about a file, with the file's name."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
