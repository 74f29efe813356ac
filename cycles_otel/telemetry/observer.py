"""The observer that a governor talks to: it turns what happens into spans, metrics and log records."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context

from cycles_otel._version import __version__
from cycles_otel.budget.observer import CallObserver, Observer, ReservationObserver, RunObserver
from cycles_otel.budget.step import Action, Origin, Step
from cycles_otel.telemetry import log, semconv
from cycles_otel.telemetry.exemplar import Exemplar
from cycles_otel.telemetry.facts import Facts
from cycles_otel.telemetry.life import Mirror, ReservationLife
from cycles_otel.telemetry.recorder import Recorder, default_recorder
from cycles_otel.telemetry.run import RunLife
from cycles_otel.telemetry.unreserved import StepCalls


class TelemetryObserver:
    """Observes all that one hooks object or guardrail does.

    What an API call changed in the ledger is counted where the call is made (``observe_client``); the observer
    counts what no reply shows: lives of reservations, runs, unguarded steps.

    Parameters
    ----------
    mirror: shows each life of a reservation at another place as well.
    """

    def __init__(self, recorder: Recorder | None = None, mirror: Mirror | None = None) -> None:
        self._recorder = recorder or default_recorder()
        self._mirror = mirror

    @property
    def recorder(self) -> Recorder:
        """What this observer records with."""
        return self._recorder

    def run(self, run_id: str, agent: str) -> RunObserver:
        """A run begins."""
        return RunLife(self._recorder, run_id, agent)

    def reservation(self, step: Step) -> ReservationObserver:
        """A step is about to ask for budget."""
        return ReservationLife(self._recorder, step, self._mirror)

    def call(self, step: Step) -> CallObserver:
        """A step is about to ask for a decision or to record an event."""
        return StepCalls(self._recorder, Facts.of_step(step))

    def recovered(self, charge: Mapping[str, Any], link: str | None) -> CallObserver:
        """A spend that another process left is about to be settled, in a trace of its own."""
        return StepCalls(self._recorder, Facts.of_body(charge), Context(), link)

    def unguarded(self, action: Action, origin: Origin, error_type: str) -> None:
        """An admission went through without an answer from the server."""
        span = trace.get_current_span()
        with self._recorder.contained("metrics", "the metrics of an admission"):
            labels = (action.kind, error_type)
            self._recorder.metrics.record(semconv.UNENFORCED_STEPS, 1, labels, Exemplar.of(span))
        log.unenforced(Facts(kind=action.kind, name=action.name, origin=origin), span, error_type)

    def hosted(self, origin: Origin, calls: int) -> None:
        """The provider ran a tool of its own."""
        with self._recorder.contained("metrics", "the calls of a hosted tool"):
            labels = (origin.tool or "", origin.agent or "", origin.model or "")
            self._recorder.metrics.record(semconv.HOSTED_CALLS, calls, labels)

    def configured(self, *, fail_open: bool, dry_run: bool, run_bracketing: bool) -> None:
        """A hooks object was made with these settings."""
        bracketing = "active" if run_bracketing else "inactive"
        with self._recorder.contained("metrics", "the settings"):
            labels = (__version__, str(fail_open).lower(), str(dry_run).lower(), bracketing, _price_data_version())
            self._recorder.metrics.record(semconv.INFO, 1, labels)

    def backlog(self, pending: int, oldest: float | None) -> None:
        """How many settlements wait in the journal, and the age of the oldest in s."""
        with self._recorder.contained("metrics", "the backlog"):
            self._recorder.backlogs.tell(self, pending, oldest)

    def journal_failed(self, error: OSError) -> None:
        """A known spend could not be written to the journal."""
        with self._recorder.contained("metrics", "the failures of the journal"):
            self._recorder.metrics.record(semconv.JOURNAL_FAILURES, 1, (type(error).__name__,))
        log.journal_failed(error)

    def circuit(self, is_open: bool) -> None:
        """A circuit opened or closed."""
        with self._recorder.contained("metrics", "the circuits"):
            self._recorder.metrics.record(semconv.CIRCUITS_OPEN, 1 if is_open else -1)


def default_observer() -> Observer:
    """An observer that records with the recorder that the process shares."""
    return TelemetryObserver(default_recorder())


def _price_data_version() -> str:
    """The version of the price data: its package's, which is known without the cost of importing it."""
    return metadata.version("genai-prices")
