"""OTLP: whether the receiver takes spans and metrics, asked by the exporters that the program would have."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cycles_otel.addresses import without_login
from cycles_otel.doctor.finding import Finding, note, skipped, well, wrong
from cycles_otel.telemetry.errors import TelemetrySetupError
from cycles_otel.telemetry.exporters import (
    Signal,
    first_setting,
    has_endpoint,
    make_exporter,
    names_asked_for,
    nothing_of,
)
from cycles_otel.telemetry.exporting import is_disabled
from cycles_otel.telemetry.recorder import checked_route

CHECKS: Mapping[Signal, str] = {"traces": "OTLP", "metrics": "OTLP metrics"}
_DEFAULT = "http://localhost (the default)"
_TAKEN = ""
_LONGEST = 200
_END = 1.0
_PORTS = "OTLP over HTTP mostly has the port 4318, and OTEL_EXPORTER_OTLP_PROTOCOL=grpc is for 4317"
_MEND = (
    (("adapters were found",), "Begin OTEL_EXPORTER_OTLP_ENDPOINT with http:// or https://"),
    (("code: 401", "code: 403", "StatusCode.UNAUTHENTICATED"), f"Correct OTEL_EXPORTER_OTLP_HEADERS, or: {_PORTS}"),
    (("code: ", "HTTP/2", "BadStatusLine", "Connection aborted"), f"That is no OTLP by this protocol: {_PORTS}"),
    (("SSL", "CERTIFICATE"), "Set OTEL_EXPORTER_OTLP_CERTIFICATE to what the receiver's certificate is signed by"),
)
_NOBODY = "Start the collector, or set OTEL_EXPORTER_OTLP_ENDPOINT to it"


def look(timeout: float) -> Iterator[Finding]:
    """What becomes of spans, and of metrics where they are sent."""
    if is_disabled():
        yield note(CHECKS["traces"], "OTEL_SDK_DISABLED=true: nothing is sent", "Unset it, unless that is meant")
        return
    yield from _signal("traces", timeout)
    if _metrics_are_sent():
        yield from _signal("metrics", timeout)


def _metrics_are_sent() -> bool:
    try:
        return checked_route(None) in ("otlp", "both")
    except TelemetrySetupError:
        return False


def _signal(signal: Signal, timeout: float) -> Iterator[Finding]:
    names, because = names_asked_for(signal), f"OTEL_{signal.upper()}_EXPORTER is none"
    if names is None:
        names = ["otlp"] if signal == "metrics" or has_endpoint(signal) else []
        because = "OTEL_EXPORTER_OTLP_ENDPOINT is not set"
    if not names:
        yield skipped(CHECKS[signal], f"{because}: no {signal} are sent")
    for name in names:
        yield _exporter(signal, name, timeout)


def _exporter(signal: Signal, name: str, timeout: float) -> Finding:
    try:
        exporter = make_exporter(signal, name)
    except TelemetrySetupError as error:
        return wrong(CHECKS[signal], " ".join(str(error).split()), f"Correct {error.parameter}")
    if name != "otlp":
        _in_the_background(exporter.shutdown)
        return well(CHECKS[signal], f"the exporter {name} is installed")
    _, endpoint = first_setting(signal, "ENDPOINT") or ("", _DEFAULT)
    shown = without_login(endpoint)
    objection = _objection(signal, exporter, timeout)
    if objection == _TAKEN:
        return well(CHECKS[signal], f"{shown} takes {signal}")
    mend = next((mend for words, mend in _MEND if any(word in objection for word in words)), _NOBODY)
    return wrong(CHECKS[signal], f"{shown}: {_in_short(objection.replace(endpoint, shown))}", mend)


def _objection(signal: Signal, exporter: Any, timeout: float) -> str:
    """What the exporter says first about a message with nothing in it; an exporter itself tries on and on."""
    outcome: queue.SimpleQueue[str] = queue.SimpleQueue()

    def export() -> None:
        result = exporter.export(nothing_of(signal))
        outcome.put(_TAKEN if result.name == "SUCCESS" else "it was not taken")

    with _overheard("opentelemetry", outcome.put):
        exporting = _in_the_background(export)
        try:
            return outcome.get(timeout=timeout)
        except queue.Empty:
            return f"no reply within {timeout:g} s"
        finally:
            # What they say while they end is of no interest; one that hangs is left behind.
            for thread in (_in_the_background(exporter.shutdown), exporting):
                thread.join(_END)


def _in_short(objection: str) -> str:
    """In one line, of which the end mostly has the cause."""
    line = " ".join(objection.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 3]} ... {line[-_LONGEST * 2 // 3 :]}"


def _in_the_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@contextmanager
def _overheard(name: str, say: Callable[[str], object]) -> Iterator[None]:
    """While the block runs, what a logger warns of is told to ``say``, and to nobody else."""
    logger, handler = logging.getLogger(name), _Telling(say)
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


class _Telling(logging.Handler):
    def __init__(self, say: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.getMessage())
