"""CyclesInstrumentor: every ``runcycles`` client of the process is observed, without a line of code.

What ``runcycles`` builds on its clients is seen with them: the ``@cycles`` decorator, ``stream_reservation``, the
retry engines. A client that ``observe_client`` observes by itself (that of ``CyclesRunHooks``, say) is left to that, so
that each call is observed once.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection
from typing import Any
from weakref import WeakKeyDictionary

import wrapt
from opentelemetry import context
from opentelemetry.context import Context
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.instrumentation.utils import is_instrumentation_enabled, unwrap
from runcycles import AsyncCyclesClient, CyclesClient, CyclesResponse

from cycles_otel.budget.exchange import OPERATIONS
from cycles_otel.telemetry.call_hooks import CallHooks
from cycles_otel.telemetry.client import ApiCall, Observed, is_observed, propagation
from cycles_otel.telemetry.errors import TelemetrySetupError
from cycles_otel.telemetry.exchange import Endpoint
from cycles_otel.telemetry.recorder import Recorder, default_recorder

Client = CyclesClient | AsyncCyclesClient
_INSTRUMENTED = ("runcycles >= 0.5.3",)


class CyclesInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Observes every ``CyclesClient`` and ``AsyncCyclesClient``, those that exist already included.

    ``CyclesInstrumentor().instrument()`` starts it, and so does ``opentelemetry-instrument python app.py``.
    ``uninstrument()`` leaves everything as it was before. ``instrument`` takes these options:

    - ``tracer_provider``, ``meter_provider``: by default what the process records with, as ``setup_telemetry`` has
      it; where a meter provider is given, metrics go there.
    - ``request_hook``: ``(span, request)`` before each call; ``request`` has ``operation``, ``reservation_id`` and
      ``body``.
    - ``response_hook``: ``(span, request, response)`` after each call that came back; ``response`` is a
      ``CyclesResponse``.

    Hooks are plain functions, for asynchronous clients too, and what they raise does not reach the call.

    Raises
    ------
    TelemetrySetupError: for a hook that is not a function.
    """

    _observation: ObservedClasses | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """The versions of ``runcycles`` that can be instrumented."""
        return _INSTRUMENTED

    def _instrument(self, **options: Any) -> None:
        before, after = (_checked_hook(name, options.get(name)) for name in ("request_hook", "response_hook"))
        recorder = _recorder(options.get("tracer_provider"), options.get("meter_provider"))
        if before or after:
            recorder.call_hooks = CallHooks(before, after, recorder.contained("traces", "a hook around a call"))
        self._observation = ObservedClasses(recorder)
        self._observation.begin()

    def _uninstrument(self, **_: Any) -> None:
        observation, self._observation = self._observation, None
        if observation is not None:
            observation.end()


class ObservedClasses:
    """The two classes of clients, wrapped so that each call of their instances is observed."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._propagate = {kind: propagation(recorder, asynchronous=kind) for kind in (False, True)}
        self._clients: WeakKeyDictionary[Client, Observed] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Wrap the classes."""
        for name, operation in OPERATIONS.items():
            wrapt.wrap_function_wrapper("runcycles.client", f"CyclesClient.{name}", self._wrapper(operation))
            wrapt.wrap_function_wrapper("runcycles.client", f"AsyncCyclesClient.{name}", self._async_wrapper(operation))
        for module in _STARTS_THREADS:
            # It is private: where another version has it no more, a reserve of its threads begins a trace of its own.
            with contextlib.suppress(AttributeError, ImportError):
                wrapt.wrap_function_wrapper(module, _IN_THREAD, _with_context)

    def end(self) -> None:
        """Unwrap the classes, and leave their instances as they were."""
        for name in OPERATIONS:
            unwrap(CyclesClient, name)
            unwrap(AsyncCyclesClient, name)
        for module in _STARTS_THREADS:
            with contextlib.suppress(AttributeError, ImportError):
                unwrap(module, _IN_THREAD)
        self._recorder.call_hooks = None
        with self._lock:
            clients = list(self._clients)
            self._clients.clear()
        for client in clients:
            self._sending(client).remove(self._propagate[isinstance(client, AsyncCyclesClient)])

    def _wrapper(self, operation: str) -> Callable[..., CyclesResponse]:
        def call(wrapped: Any, client: CyclesClient, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CyclesResponse:
            if self._is_left_alone(client):
                return wrapped(*args, **kwargs)  # type: ignore[no-any-return]
            with ApiCall(self._observed(client), operation, args, kwargs) as api_call:
                api_call.response = wrapped(*args, **kwargs)
            return api_call.response

        return call

    def _async_wrapper(self, operation: str) -> Callable[..., Any]:
        async def call(
            wrapped: Any, client: AsyncCyclesClient, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> CyclesResponse:
            if self._is_left_alone(client):
                return await wrapped(*args, **kwargs)  # type: ignore[no-any-return]
            with ApiCall(self._observed(client), operation, args, kwargs) as api_call:
                api_call.response = await wrapped(*args, **kwargs)
            return api_call.response

        return call

    def _is_left_alone(self, client: Client) -> bool:
        return is_observed(client) or self._recorder.is_idle or not is_instrumentation_enabled()

    def _observed(self, client: Client) -> Observed:
        """What the client's calls share; from the first of them on, the trace is sent along."""
        known = self._clients.get(client)
        if known is not None:
            return known
        with self._lock:
            if client not in self._clients:
                self._clients[client] = Observed(self._recorder, Endpoint.of(client._config.base_url))
                self._sending(client).append(self._propagate[isinstance(client, AsyncCyclesClient)])
            return self._clients[client]

    @staticmethod
    def _sending(client: Client) -> list[Any]:
        hooks: list[Any] = client._http.event_hooks["request"]
        return hooks


_IN_THREAD = "_run_sync_attempt"
_STARTS_THREADS = ("runcycles.lifecycle", "runcycles.streaming")


def _with_context(wrapped: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The blocking life cycle makes a call in a thread of its own: the current span has to come along."""
    call, *rest = args
    return wrapped(_in_context(call, context.get_current()), *rest, **kwargs)


def _in_context(call: Callable[[], CyclesResponse], current: Context) -> Callable[[], CyclesResponse]:
    def called() -> CyclesResponse:
        token = context.attach(current)
        try:
            return call()
        finally:
            context.detach(token)

    return called


def _recorder(tracer_provider: Any, meter_provider: Any) -> Recorder:
    if tracer_provider is None and meter_provider is None:
        return default_recorder()
    return Recorder(
        metrics=None if meter_provider is None else "otlp",
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
    )


def _checked_hook(name: str, hook: Any) -> Any:
    if hook is not None and not callable(hook):
        raise TelemetrySetupError(name, hook, "a function")
    return hook
