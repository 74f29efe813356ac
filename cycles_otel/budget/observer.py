"""The seam to telemetry: what a governor tells whoever looks on. Nothing that comes back decides anything.

The governor depends on these protocols alone; ``cycles_otel.telemetry`` implements them. An observer must
neither raise nor block: it is called on the path of every step, from the program's threads and from the
background loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from runcycles import Unit

from cycles_otel.budget.step import Action, Origin, Step

Operation = str
"""``reserve``, ``commit``, ``release``, ``extend``, ``decide``, ``event`` or ``balances``."""


class CallObserver(Protocol):
    """Told about the API calls of one step that holds no reservation: a decision, an event."""

    def calling(self, operation: Operation, attempt: int = 0, **attributes: Any) -> AbstractContextManager[None]:
        """Around each HTTP request; ``attempt`` counts its retries from 0.

        ``attributes`` are facts for the span of the request, by their name without the ``cycles.`` prefix
        (``release.reason``, ``heartbeat.sequence``, ``amount.source``…).
        """

    def retrying(self, operation: Operation, attempt: int, error_type: str) -> None:
        """The request is about to be sent again, for the ``attempt``-th time."""

    def charged(self, outcome: str, *, actual: int, charged: int | None, source: str | None) -> None:
        """What this process used without a reservation, or another one left, is charged.

        ``outcome`` is as in ``settled``, or unbudgeted where there is no budget to charge; ``charged`` is None where
        it is not known yet.
        """

    def link(self) -> str | None:
        """What a later process links its settlement to, as a ``traceparent``."""


class ReservationObserver(CallObserver, Protocol):
    """Told about the life of one reservation, from before the reserve until it is settled."""

    def granted(self, reservation_id: str, amount: int, *, capped: Mapping[str, Any] | None) -> None:
        """The budget is held: ``amount`` in the step's unit, within the caps ``capped``, if any."""

    def denied(self, reason_code: str, *, scope: str | None = None) -> None:
        """The step is stopped; the life ends here, outcome ``denied``."""

    def policy_applied(self, reason_code: str, policy: str, *, model: str | None = None) -> None:
        """What is done about a denial: ``policy`` is raise, downgrade (to ``model``), disable or defer.

        The life goes on: ``denied`` ends it, or the step that waits is asked for again.
        """

    def would_deny(self, reason_code: str) -> None:
        """The shadow of a denial: the step runs; the life ends here, outcome ``would_deny``."""

    def shadowed(self, *, capped: Mapping[str, Any] | None) -> None:
        """A dry run was allowed: nothing is held; the life ends here."""

    def unenforced(self, error_type: str) -> None:
        """The step runs unguarded, since the server gave no answer; the life ends here, outcome ``unenforced``."""

    def unbudgeted(self) -> None:
        """The step runs without a budget, as the program allows; the life ends here."""

    def failed(self, error_type: str) -> None:
        """The step is stopped by a wrong set-up, or by unavailability with ``fail_open=False``; the life ends here."""

    def heartbeat(self, sequence: int, margin: float) -> None:
        """A beat was acknowledged when ``margin`` seconds of the lease were left."""

    def heartbeat_failed(self, error_type: str, disposition: str) -> None:
        """A beat failed; ``disposition`` is ``retry`` or ``stop``."""

    def usage(self, tokens: Mapping[str, int]) -> None:
        """What the model used: tokens by type (``input``, ``output``, ``cached``, ``reasoning``)."""

    def priced(self, source: str, data_version: str | None, multiplier: float) -> None:
        """How the usage was priced, told before the settlement.

        ``source`` is data, table or function; ``data_version`` that of the public prices where they were used, and
        every price was multiplied with ``multiplier``.
        """

    def price_unknown(self, model: str) -> None:
        """No price is known for the model: the estimate is charged."""

    def settled(
        self,
        outcome: str,
        *,
        actual: int | None = None,
        charged: int | None = None,
        released: int | None = None,
        source: str | None = None,
    ) -> None:
        """The life ends: ``outcome`` is committed, released, expired, settled_by_event, queued or lost.

        Amounts are in the step's unit; ``source`` says where the actual amount is from (usage, price,
        risk_points, estimate).
        """

    def settlement_queued(self) -> None:
        """The settlement was not over when its run ended: it goes on in the background and in the journal."""


class RunObserver(Protocol):
    """Told about one run of the Agents SDK, from begin to end."""

    def attached(self) -> AbstractContextManager[None]:
        """Entered around the SDK's run, so that what happens inside belongs to the run."""

    def ended(self, outcome: str, committed: Mapping[Unit, int], leaked: int) -> None:
        """``outcome`` is completed, denied, failed or cancelled; ``leaked`` reservations were left open."""


class Observer(Protocol):
    """Told about everything that one hooks object or guardrail does."""

    def run(self, run_id: str, agent: str) -> RunObserver:
        """A run begins; called in the context of the program that starts it."""

    def reservation(self, step: Step) -> ReservationObserver:
        """A step is about to ask for budget; called in the context of the step."""

    def call(self, step: Step) -> CallObserver:
        """A step is about to ask for a decision or to record an event; called in the context of the step."""

    def recovered(self, charge: Mapping[str, Any], link: str | None) -> CallObserver:
        """A spend that another process left is about to be settled; ``charge`` is the body of its event."""

    def unguarded(self, action: Action, origin: Origin, error_type: str) -> None:
        """An admission went through without an answer from the server."""

    def hosted(self, origin: Origin, calls: int) -> None:
        """The provider ran a tool of its own, ``origin.tool``, so many times inside of an LLM call."""

    def configured(self, *, fail_open: bool, dry_run: bool, run_bracketing: bool) -> None:
        """A hooks object was made with these settings."""

    def backlog(self, pending: int, oldest: float | None) -> None:
        """How many settlements wait in the journal, and the age of the oldest in seconds."""

    def journal_failed(self, error: OSError) -> None:
        """A known spend could not be written to the journal; its settlement is tried all the same."""

    def circuit(self, is_open: bool) -> None:
        """A circuit opened: steps do not ask the server for now; or it closed."""


class _Silent:
    """Observes nothing: for a governor without telemetry."""

    def run(self, run_id: str, agent: str) -> RunObserver:
        return self

    def reservation(self, step: Step) -> ReservationObserver:
        return self

    def recovered(self, charge: Mapping[str, Any], link: str | None) -> CallObserver:
        return self

    def link(self) -> str | None:
        return None

    def call(self, step: Step) -> CallObserver:
        return self

    def calling(self, operation: Operation, attempt: int = 0, **attributes: Any) -> AbstractContextManager[None]:
        return nullcontext()

    def attached(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _nothing(self, *_: Any, **__: Any) -> None:
        pass

    ended = unguarded = hosted = configured = backlog = journal_failed = circuit = charged = _nothing
    granted = denied = policy_applied = would_deny = shadowed = unenforced = unbudgeted = failed = _nothing
    heartbeat = heartbeat_failed = retrying = usage = priced = price_unknown = settled = settlement_queued = _nothing


SILENT: Observer = _Silent()
"""The observer that observes nothing."""
