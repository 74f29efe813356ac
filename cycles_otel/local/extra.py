"""What to install when the embedded server lacks something."""

from __future__ import annotations

from typing import NoReturn

NEEDED = ("starlette", "uvicorn", "yaml")


def explain_missing(error: ModuleNotFoundError) -> NoReturn:
    """Raise the error again, with what to install where it is one of the server's own needs that is missing.

    Raises
    ------
    ImportError: always.
    """
    missing = (error.name or "").partition(".")[0]
    if missing not in NEEDED:
        raise error
    raise ImportError(
        f'the embedded server needs {missing}: pip install "cycles-otel[server]"', name=missing
    ) from error
