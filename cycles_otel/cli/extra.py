"""What a command needs beyond the core of the package, and what to install where that is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_PACKAGES = ("rich", "starlette", "uvicorn", "yaml")


@contextmanager
def cli_extra(program: str) -> Iterator[None]:
    """Around the imports of a command.

    Raises
    ------
    MissingExtraError: a package of the extra ``cli`` is not installed.
    """
    try:
        yield
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _PACKAGES:
            raise
        from cycles_otel.errors import MissingExtraError

        message = f'{program} needs {missing}, which is not installed: pip install "cycles-otel[cli]"'
        raise MissingExtraError(message, name=missing) from error
