"""Steps of agents, as their spans tell of them: what asked for budget, what the answer was, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from opentelemetry.sdk.trace import ReadableSpan

from cycles_otel.telemetry import semconv

_OPEN = "open"
_DECISIONS = {semconv.DENIED: semconv.DENY, semconv.WOULD_DENY: semconv.DENY}
_OUTCOMES = {"commit": "committed", "release": "released"}
_GUARDRAIL = "agent.run"


@dataclass(frozen=True)
class Step:
    """One LLM call, one tool call or one question of a guardrail that asked for budget.

    Parameters
    ----------
    kind: the kind of the action: ``llm.completion``, ``tool.invoke`` or the tool's own, ``agent.run`` of a guardrail.
    agent, tool, model: whose it was, as far as that is known.
    decision: ``ALLOW``, ``ALLOW_WITH_CAPS`` or ``DENY``; None where the server gave no answer.
    outcome: what became of it, such as ``committed``, ``released``, ``denied``, ``would_deny`` (in a dry run) or
        ``unenforced``; ``open`` while it is not settled.
    reason: the reason code of a denial.
    unit, estimated, charged: what was asked for and what was charged, in ``unit``; None where that is not known.
    span: the span that tells all this, and more.
    """

    kind: str
    agent: str | None
    tool: str | None
    model: str | None
    decision: str | None
    outcome: str
    reason: str | None
    unit: str | None
    estimated: int | None
    charged: int | None
    span: ReadableSpan = field(repr=False, compare=False)

    @classmethod
    def of(cls, span: ReadableSpan, calls: Sequence[ReadableSpan]) -> Step:
        """The step that a span and those of its API calls tell of; a call that stands alone is both."""
        said: dict[str, Any] = {}
        for each in (*calls, span):
            said.update({key: value for key, value in (each.attributes or {}).items() if key in _TOLD})
        for event in span.events:
            said.update({key: value for key, value in (event.attributes or {}).items() if key == semconv.REASON_CODE})
        outcome = _outcome(said, calls)
        return cls(
            kind=str(said.get(semconv.ACTION_KIND, "")),
            agent=said.get(semconv.AGENT_NAME) or said.get(semconv.AGENT),
            tool=said.get(semconv.TOOL_NAME) or said.get(semconv.TOOLSET),
            model=said.get(semconv.MODEL),
            decision=_DECISIONS.get(outcome) or said.get(semconv.DECISION),
            outcome=outcome,
            reason=said.get(semconv.REASON_CODE),
            unit=said.get(semconv.UNIT),
            estimated=said.get(semconv.AMOUNT_ESTIMATED),
            charged=said.get(semconv.AMOUNT_CHARGED),
            span=span,
        )

    @property
    def denied(self) -> bool:
        """Whether the step was stopped, or answered in another way, since the budget did not allow it."""
        return self.outcome == semconv.DENIED

    @property
    def is_llm_call(self) -> bool:
        """Whether a model was to be called."""
        return self.tool is None and self.kind != _GUARDRAIL

    def __str__(self) -> str:
        what = next((f"{word} {name}" for word, name in (("tool", self.tool), ("llm", self.model)) if name), self.kind)
        who = f" by {self.agent}" if self.agent else ""
        reason = f" ({self.reason})" if self.reason else ""
        return f"{what}{who}: {self.outcome}{reason}{self._amounts()}"

    def _amounts(self) -> str:
        if self.unit is None:
            return ""
        known = [f"{amount:,}" for amount in (self.charged, self.estimated) if amount is not None]
        return f", {' of '.join(known)} {self.unit}" if known else ""


_TOLD = frozenset(
    {
        *(semconv.ACTION_KIND, semconv.AGENT_NAME, semconv.AGENT, semconv.TOOL_NAME, semconv.TOOLSET, semconv.MODEL),
        *(semconv.DECISION, semconv.RESERVATION_OUTCOME, semconv.REASON_CODE, semconv.UNIT),
        *(semconv.AMOUNT_ESTIMATED, semconv.AMOUNT_CHARGED),
    }
)


def _outcome(said: Mapping[str, Any], calls: Sequence[ReadableSpan]) -> str:
    """What the reservation's span says; of a client that is used by itself, what its last call did."""
    if semconv.RESERVATION_OUTCOME in said:
        return str(said[semconv.RESERVATION_OUTCOME])
    if said.get(semconv.DECISION) == semconv.DENY:
        return semconv.DENIED
    operations = [str((call.attributes or {}).get(semconv.OPERATION_NAME)) for call in calls]
    if "decide" in operations:
        return "allowed" if semconv.DECISION in said else semconv.UNENFORCED
    return next((_OUTCOMES[each] for each in reversed(operations) if each in _OUTCOMES), _OPEN)


class Steps(Sequence[Step]):
    """Some of the steps of a test, in the order in which they began.

    Parameters
    ----------
    steps: these steps.
    tree: the whole of what happened, for whom looks for a step that is not there.
    """

    def __init__(self, steps: Iterable[Step], tree: str = "", called: str = "steps") -> None:
        self._steps = tuple(steps)
        self.tree = tree
        self.called = called

    def of(
        self,
        *,
        agent: str | None = None,
        tool: str | None = None,
        model: str | None = None,
        kind: str | None = None,
        decision: str | None = None,
        outcome: str | None = None,
        reason: str | None = None,
    ) -> Steps:
        """Those that fit all that is given."""
        given = {"agent": agent, "tool": tool, "model": model, "kind": kind}
        given |= {"decision": decision, "outcome": outcome, "reason": reason}
        wanted = {name: value for name, value in given.items() if value is not None}
        fitting = [each for each in self if all(getattr(each, name) == value for name, value in wanted.items())]
        named = ", ".join(f"{name}={value!r}" for name, value in wanted.items())
        return Steps(fitting, self.tree, f"{self.called} of {named}" if named else self.called)

    @property
    def tool_calls(self) -> Steps:
        """The tool calls among them; a tool that costs nothing asks for nothing, and is none."""
        return Steps((each for each in self if each.tool is not None), self.tree, self._as("tool calls"))

    @property
    def llm_calls(self) -> Steps:
        """The LLM calls among them."""
        return Steps((each for each in self if each.is_llm_call), self.tree, self._as("LLM calls"))

    @property
    def denied(self) -> Steps:
        """Those that were denied."""
        return Steps((each for each in self if each.denied), self.tree, f"denied {self.called}")

    def _as(self, called: str) -> str:
        return self.called.replace("steps", called, 1)

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> Steps: ...
    def __getitem__(self, index: int | slice) -> Step | Steps:
        if isinstance(index, slice):
            return Steps(self._steps[index], self.tree, self.called)
        try:
            return self._steps[index]
        except IndexError:
            raise IndexError(f"[{index}] of {len(self)} {self.called}. What happened:\n{self.tree}") from None

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps)

    def __repr__(self) -> str:
        return f"<{len(self)} {self.called}: {'; '.join(map(str, self))}>"
