"""What the caller of an API call says of it: for which step it is, in which trace, and which try it is."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.context import Context

from cycles_otel.telemetry.facts import Facts


@dataclass(frozen=True)
class Calling:
    """Stands around one HTTP request: ``with calling: await client.commit_reservation(...)``.

    Parameters
    ----------
    context: the parent of the request's span.
    attempt: counts the retries of the request from 0.
    attributes: further facts for its span, by their full keys.
    link: the trace that its span is linked to, as a ``traceparent``.
    """

    facts: Facts
    context: Context
    attempt: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    link: str | None = None
    _tokens: list[Token[Calling | None]] = field(default_factory=list, init=False, compare=False)

    def __enter__(self) -> None:
        self._tokens.append(_current.set(self))

    def __exit__(self, *_: object) -> None:
        _current.reset(self._tokens.pop())


_current: ContextVar[Calling | None] = ContextVar("cycles_otel_calling", default=None)


def current_calling() -> Calling | None:
    """What the code around the call says of it; None for a client that is used by itself."""
    return _current.get()
