"""The program's own functions around each API call, to say more on its span: ``request_hook``, ``response_hook``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opentelemetry.trace import Span
from runcycles import CyclesResponse

from cycles_otel.telemetry.exchange import Request
from cycles_otel.telemetry.faults import Contained

RequestHook = Callable[[Span, Request], Any]
ResponseHook = Callable[[Span, Request, CyclesResponse], Any]


@dataclass(frozen=True)
class CallHooks:
    """Calls the hooks, if the span of the call is recorded; what they raise does not reach the call.

    Parameters
    ----------
    contained: keeps what a hook raises from the program.
    """

    request_hook: RequestHook | None
    response_hook: ResponseHook | None
    contained: Contained

    def asked(self, span: Span, request: Request) -> None:
        """The call is about to be made."""
        if self.request_hook is not None and span.is_recording():
            with self.contained:
                self.request_hook(span, request)

    def answered(self, span: Span, request: Request, response: CyclesResponse) -> None:
        """The call came back; a call that raises has no response."""
        if self.response_hook is not None and span.is_recording():
            with self.contained:
                self.response_hook(span, request, response)
