"""What is governed: one step of a run, and what is known of it before it starts."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from runcycles import Unit

from cycles_otel.budget.subject import Subject

_LONGEST_NAME = 256


@dataclass(frozen=True)
class Action:
    """What is done: a kind of the protocol's registry (``llm.completion``) and a name (the model, the tool).

    Any name may be given; one that the protocol refuses is cut, or ``unnamed`` where it is blank.
    """

    kind: str
    name: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", cut(self.name, _LONGEST_NAME) if self.name.strip() else "unnamed")


def cut(text: str, longest: int) -> str:
    """At most ``longest`` characters, as the server counts them: in UTF-16, where an emoji is two."""
    return text.encode("utf-16-le", "surrogatepass")[: 2 * longest].decode("utf-16-le", "ignore")


@dataclass(frozen=True)
class Origin:
    """Where a step comes from, in the program's own words; it stands on spans, the names on metrics too.

    Parameters
    ----------
    agent: the agent's original name.
    model: the model that was asked for, of an LLM step.
    tool: the tool's original name, of a tool step.
    tool_call_id: the SDK's id of the call, of a tool step.
    run_id: the run that the step belongs to.
    """

    agent: str | None = None
    model: str | None = None
    tool: str | None = None
    tool_call_id: str | None = None
    run_id: str | None = None


def new_key() -> str:
    """A key that no other step has."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Step:
    """One LLM call, tool call, handoff or admission, as it is put to the Cycles server.

    Parameters
    ----------
    amount: the estimate before the step, in whole ``unit``s (for an event: what is charged).
    key: unique to this step; each operation's idempotency key is derived from it.
    """

    subject: Subject
    action: Action
    unit: Unit
    amount: int
    origin: Origin = Origin()
    key: str = field(default_factory=new_key)
    metadata: dict[str, Any] | None = None

    def idempotency_key(self, operation: str) -> str:
        """The key of one operation on this step, the same for each retry of it."""
        return f"{self.key}-{operation}"
