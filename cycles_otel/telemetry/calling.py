"""What the caller of an API call says of it: for which step it is, in which trace, and which try it is."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import Any

from opentelemetry.context import Context

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.facts import Attributes, Facts

_NONE: Mapping[str, Any] = {}


class Calling:
    """Stands around one HTTP request: ``with calling: await client.commit_reservation(...)``.

    Parameters
    ----------
    context: the parent of the request's span.
    attempt: counts the retries of the request from 0.
    attributes: further facts for its span, by their full keys.
    link: the trace that its span is linked to, as a ``traceparent``.
    """

    __slots__ = ("_token", "attempt", "attributes", "context", "facts", "link")

    def __init__(
        self,
        facts: Facts,
        context: Context,
        attempt: int = 0,
        attributes: Mapping[str, Any] = _NONE,
        link: str | None = None,
    ) -> None:
        self.facts = facts
        self.context = context
        self.attempt = attempt
        self.attributes = attributes
        self.link = link
        self._token: Token[Calling | None] | None = None

    def __enter__(self) -> None:
        self._token = _current.set(self)

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _current.reset(self._token)


_current: ContextVar[Calling | None] = ContextVar("cycles_otel_calling", default=None)


def current_calling() -> Calling | None:
    """What the code around the call says of it; None for a client that is used by itself."""
    return _current.get()


def call_facts(attributes: Mapping[str, Any]) -> Attributes:
    """A caller's facts by their full keys; what the table does not know stays off the span."""
    named = {semconv.NAMESPACE + name: value for name, value in attributes.items()}
    return {key: value for key, value in named.items() if key in semconv.CALL_FACTS and value is not None}
