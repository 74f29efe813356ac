"""The scope of a run: what it holds, and what becomes of that when the run ends, whatever way it ends.

``bracketing`` begins and ends it with the SDK's run; a context variable carries it to every hook of the run.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, fields
from typing import Any

from agents import ModelSettings, RunHooks
from agents.exceptions import InputGuardrailTripwireTriggered, ModelBehaviorError
from agents.items import ModelResponse
from runcycles import BudgetExceededError, Unit

from cycles_otel.budget import background
from cycles_otel.budget.observer import Observer
from cycles_otel.budget.policy import UnknownSpend
from cycles_otel.budget.requests import Spend
from cycles_otel.budget.reservation import Admitted
from cycles_otel.caps import CapsInForce
from cycles_otel.degradation.order import ModelOrder
from cycles_otel.pricing.identity import ModelIdentity

logger = logging.getLogger("cycles_otel")

_INCOMPLETE = "`response.incomplete`"
"""What the SDK's error says of an answer that is not whole; it has neither a class nor a code of its own."""
_CHARGED = "_cycles_otel_charged"

_current: ContextVar[RunScope | None] = ContextVar("cycles_otel_run", default=None)


class GoverningHooks(RunHooks[Any]):
    """Hooks that govern the run they are given to: what a run's scope needs to know of them."""

    observer: Observer
    settle_timeout: float
    unknown_spend: UnknownSpend


class HooksWithGoverning(RunHooks[Any]):
    """Hooks that have governing ones among them."""

    governing: GoverningHooks | None


def governing_among(hooks: object) -> GoverningHooks | None:
    """The hooks that govern, in what a run was given, if there are any."""
    if isinstance(hooks, HooksWithGoverning):
        return hooks.governing
    return hooks if isinstance(hooks, GoverningHooks) else None


@dataclass
class LlmCall:
    """An LLM call that was let go.

    Parameters
    ----------
    reservation: what is held for it, if anything.
    spend_of: takes note of an answer, given the model that it came from, and says what to commit for it.
    order: what its model is told.
    started: whether the model may have begun.
    served: the model that answers, where a model wrapper tells.
    """

    reservation: Admitted | None
    spend_of: Callable[[ModelResponse, ModelIdentity | None], Spend]
    order: ModelOrder
    started: bool = False
    served: ModelIdentity | None = None


@dataclass
class ToolCall:
    """A tool call that was let go: its reservation, if it has one, its charge, and whether the tool may have begun.

    ``disabled`` is what the model reads in place of the tool's result, of a call that is left out.
    """

    reservation: Admitted | None
    spend: Spend
    started: bool = False
    disabled: str | None = None


@dataclass(frozen=True)
class RunEnding:
    """How a run ended.

    Parameters
    ----------
    error: what ended it, if not its result.
    responses: what its models answered; an answer that no hook told of is charged all the same.
    paused: whether it waits for an approval.
    """

    error: BaseException | None = None
    responses: list[ModelResponse] = field(default_factory=list)
    paused: bool = False

    @classmethod
    def with_result(cls, result: Any, error: BaseException | None = None) -> RunEnding:
        """The end of a run that left a result, of a stream even where it failed."""
        return cls(error, result.raw_responses, paused=error is None and bool(result.interruptions))

    @classmethod
    def with_error(cls, error: BaseException) -> RunEnding:
        """The end of a run that left no result; of its answers the SDK's own errors know."""
        data = getattr(error, "run_data", None)
        return cls(error, list(data.raw_responses) if data is not None else [])


@dataclass(frozen=True)
class ModelConfig:
    """What a run's config says about models."""

    model: object = None
    model_provider: object = None
    model_settings: ModelSettings | None = None

    @classmethod
    def of(cls, run_config: Any) -> ModelConfig:
        """What a ``RunConfig`` says, or a mapping that stands for one."""
        names = [each.name for each in fields(cls)]
        if isinstance(run_config, Mapping):
            return cls(*(run_config.get(name) for name in names))
        return cls(*(getattr(run_config, name, None) for name in names))


@dataclass
class RunScope:
    """What one run holds, from its begin to its end.

    A call is found again by its key: a tool by the id of its call, an LLM call by the run loop that makes it. The
    scope of hooks that are called outside of any bracketed run never ends by itself.

    Parameters
    ----------
    config: the model, the model provider and the model settings of the run's config, which stand before the agents'.
    answered_before: how many answers of models a resumed run starts with; another run was charged for them.
    model_order: what the model of the LLM call in flight is told; None while there is no such call.
    gave_back_llm: whether an LLM call was given back by request, whose model may still answer.
    """

    hooks: GoverningHooks
    config: ModelConfig = ModelConfig()
    answered_before: int = 0
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    llm_calls: dict[object, LlmCall] = field(default_factory=dict)
    tool_calls: dict[object, list[ToolCall]] = field(default_factory=dict)
    caps: CapsInForce = field(default_factory=CapsInForce)
    model_order: ModelOrder | None = None
    answered: int = 0
    gave_back_llm: bool = False
    committed: dict[Unit, int] = field(default_factory=dict)
    settlements: dict[Future[str], Admitted | None] = field(default_factory=dict)
    closed: bool = False

    def llm_started(self, key: object, call: LlmCall) -> None:
        """An LLM call was let go; one that is still open under the key has failed."""
        self._give_back_llm(key, "run_failed")
        self.llm_calls[key] = call
        self.model_order = call.order

    def llm_ended(self, key: object, response: ModelResponse) -> bool:
        """The model answered: charge what it used. False if the call is not held any more."""
        self.answered += 1
        self.model_order = None
        call = self.llm_calls.pop(key, None)
        if call is None:
            return False
        spend = call.spend_of(response, call.served)
        if call.reservation is not None:
            self._commit(call.reservation, spend)
        return True

    def llm_served_by(self, model: ModelIdentity) -> None:
        """The LLM call that is being made is answered by this model, whatever was asked for."""
        for call in self.llm_calls.values():
            call.served = model

    def charged(self, settlement: Future[str] | None, unit: Unit, amount: int) -> None:
        """Something was charged that had no reservation; None where nothing is."""
        if settlement is not None:
            self.committed[unit] = self.committed.get(unit, 0) + amount
            self.track(settlement)

    def tool_started(self, key: object, call: ToolCall) -> None:
        """A tool call was admitted."""
        self.tool_calls.setdefault(key, []).append(call)

    def tool_ended(self, key: object) -> bool:
        """A tool came back: charge it. False if nothing is known of its start."""
        calls = self.tool_calls.get(key)
        if not calls:
            return False
        call = calls.pop(0)
        if not calls:
            del self.tool_calls[key]
        if call.reservation is not None:
            self._commit(call.reservation, call.spend)
        return True

    def leave_out(self, key: object, call: ToolCall, message: str) -> None:
        """A tool call is not carried out; its model reads the message instead of a result."""
        call.disabled = message
        calls = self.tool_calls.setdefault(key, [])
        if not any(each is call for each in calls):
            calls.append(call)

    def disabled_message(self, key: object) -> str | None:
        """What the model reads instead of the result of a tool call, if that is left out."""
        return next((call.disabled for call in self.tool_calls.get(key, ()) if call.disabled is not None), None)

    def track(self, settlement: Future[str] | None, reservation: Admitted | None = None) -> None:
        """Something that the run's end waits for, and the reservation that it settles."""
        if settlement is not None:
            self.settlements[settlement] = reservation
            settlement.add_done_callback(lambda done: self.settlements.pop(done, None))

    def open_reservations(self) -> list[Admitted]:
        """What the run holds and nobody has begun to settle."""
        calls: list[LlmCall | ToolCall] = list(self.llm_calls.values())
        calls += [call for same_key in self.tool_calls.values() for call in same_key]
        return [call.reservation for call in calls if call.reservation is not None and call.reservation.is_open]

    def release_open(self, reason: str) -> int:
        """Give back what is held; how many reservations that were."""
        reservations = self.open_reservations()
        self.gave_back_llm |= any(call.reservation in reservations for call in self.llm_calls.values())
        self.llm_calls.clear()
        # A tool that is left out must not run for all that.
        left_out = {key: [each for each in calls if each.disabled] for key, calls in self.tool_calls.items()}
        self.tool_calls = {key: calls for key, calls in left_out.items() if calls}
        released = [(reservation.release(reason), reservation) for reservation in reservations]
        for settlement, reservation in released:
            self.track(settlement, reservation)
        return sum(settlement is not None for settlement, _ in released)

    def close(self, ending: RunEnding) -> None:
        """The run is over: settle what no hook settled."""
        if self.closed:
            return
        self.closed = True
        unseen = ending.responses[self.answered_before + self.answered :]
        for key in list(self.llm_calls):
            if unseen:
                self.llm_ended(key, unseen[0])
            else:
                self._unknown_llm_spend(key, ending.error)
        for call in [call for same_key in self.tool_calls.values() for call in same_key]:
            self._close_tool(call, ending)
        self.tool_calls.clear()

    async def settled(self) -> None:
        """Wait for the settlements of the run, at most for the settle timeout."""
        if await background.settle(list(self.settlements), self.hooks.settle_timeout):
            return
        logger.info("A run ended before its settlements: they go on in the background.")
        for reservation in list(self.settlements.values()):
            if reservation is not None:
                reservation.observer.settlement_queued()

    def _commit(self, reservation: Admitted, spend: Spend) -> None:
        settlement, unit = reservation.commit(spend), reservation.step.unit
        if settlement is not None:
            self.committed[unit] = self.committed.get(unit, 0) + spend.amount
        self.track(settlement, reservation)

    def _unknown_llm_spend(self, key: object, error: BaseException | None) -> None:
        """A model that failed cost nothing that is known; one that was cut off may have: the policy says.

        One whose answer was cut did, whatever the policy says.
        """
        call = self.llm_calls[key]
        cut_off = is_cancellation(error) or isinstance(error, InputGuardrailTripwireTriggered)
        spent = _is_of_a_cut_answer(error) or (cut_off and self.hooks.unknown_spend == "commit_estimate")
        if spent and call.started and call.reservation is not None:
            self._commit(call.reservation, Spend(call.reservation.step.amount, "estimate"))
            del self.llm_calls[key]
            # The error may go on to the run around this one, whose own call it is not about.
            vars(error)[_CHARGED] = True
        else:
            self._give_back_llm(key, _release_reason(error))

    def _give_back_llm(self, key: object, reason: str) -> None:
        call = self.llm_calls.pop(key, None)
        if call is not None and call.reservation is not None:
            self.track(call.reservation.release(reason), call.reservation)

    def _close_tool(self, call: ToolCall, ending: RunEnding) -> None:
        if call.reservation is None:
            return
        # A nested agent that waits for an approval goes on in another run, which charges it when it is back.
        if call.started and not ending.paused:
            self._commit(call.reservation, call.spend)
        else:
            self.track(call.reservation.release("tool_not_run"), call.reservation)


def current_scope() -> RunScope | None:
    """The scope of the run in which the caller is, if that is governed."""
    return _current.get()


def enter(scope: RunScope) -> Token[RunScope | None]:
    """Make a scope the current one, for the caller and for every task that is started from here on."""
    return _current.set(scope)


def leave(token: Token[RunScope | None]) -> None:
    """Make the scope current again that was so before."""
    # A run that is collected ends in whatever context that happens.
    with contextlib.suppress(ValueError):
        _current.reset(token)


def served_by(model: ModelIdentity) -> None:
    """For a wrapper around models: tell which model answers the call that is being made, so that it is the one priced.

    Call it inside of the run, between the call and its answer, with ``ModelIdentity(name, provider)``; outside of any
    governed run it does nothing. The last word counts: an address and the requested name first, the name in the
    provider's answer when it is there.
    """
    scope = current_scope()
    if scope is not None:
        scope.llm_served_by(model)


def run_outcome(error: BaseException | None) -> str:
    """How a run ended, as the metric of the runs says it."""
    if error is None:
        return "completed"
    if is_cancellation(error):
        return "cancelled"
    return "denied" if isinstance(error, BudgetExceededError) or _tripped_for_budget(error) else "failed"


def is_cancellation(error: BaseException | None) -> bool:
    """Whether a run was stopped from outside: cancelled, interrupted, or left by a loop that was closed."""
    return error is not None and not isinstance(error, Exception)


def _is_of_a_cut_answer(error: BaseException | None) -> bool:
    """Whether an answer was cut, since it came to the most tokens that it may have, or was filtered.

    The provider charges it as any other; the SDK makes an error of it, and drops what was used. An answer that is
    charged already counts no more.
    """
    return isinstance(error, ModelBehaviorError) and _INCOMPLETE in str(error) and _CHARGED not in vars(error)


def _tripped_for_budget(error: BaseException) -> bool:
    if not isinstance(error, InputGuardrailTripwireTriggered):
        return False
    info = error.guardrail_result.output.output_info
    return isinstance(info, Mapping) and info.get("decision") == "DENY"


def _release_reason(error: BaseException | None) -> str:
    if is_cancellation(error):
        return "run_cancelled"
    return "guardrail" if isinstance(error, InputGuardrailTripwireTriggered) else "run_failed"
