"""A desk that governs without any agent framework: steps, a governor, and a diary of what an observer is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from runcycles import AsyncCyclesClient, CommitOveragePolicy, Unit

from cycles_otel.budget.governor import Governor
from cycles_otel.budget.observer import SILENT
from cycles_otel.budget.policy import Policy
from cycles_otel.budget.requests import Spend
from cycles_otel.budget.reservation import Reservation
from cycles_otel.budget.step import Action, Origin, Step
from cycles_otel.budget.subject import Subject
from cycles_otel.local import LocalCycles, LoggedRequest

ALLOCATED = 1_000
BUDGETS = {"tenant:acme": {"TOKENS": ALLOCATED}}
REJECT = Policy(overage_policy=CommitOveragePolicy.REJECT)
HTML = "<html><body>Bad gateway</body></html>"


def step(amount: int = 100, *, unit: Unit = Unit.TOKENS, **origin: str) -> Step:
    """A step of acme's that holds so much."""
    return Step(Subject(tenant="acme"), Action("llm.completion", "gpt-4o"), unit, amount, Origin(**origin))


def used(amount: int) -> Spend:
    """What a step used."""
    return Spend(amount, "usage")


def unobserved(client: AsyncCyclesClient) -> AsyncCyclesClient:
    """A client whose calls nobody looks at."""
    return client


async def reserve(governor: Governor, amount: int = 100) -> Reservation:
    """A reservation that is granted."""
    reservation = (await governor.reserve(step(amount))).admitted
    assert isinstance(reservation, Reservation)
    return reservation


async def outcome(settlement: Future[str] | None) -> str:
    """How a settlement ended."""
    assert settlement is not None
    return await asyncio.wrap_future(settlement)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until the condition holds; it is an error if it does not within the given time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        await asyncio.sleep(0.005)


def sent(server: LocalCycles, operation: str) -> list[LoggedRequest]:
    """The requests of an operation, as they were on the wire."""
    return [request for request in server.requests if request.operation == operation]


def keys(requests: list[LoggedRequest]) -> list[str]:
    """Their idempotency keys."""
    return [request.body["idempotency_key"] for request in requests]


@dataclass
class Diary:
    """What an observer is told: each entry is a name and the arguments that came with it."""

    entries: list[tuple[str, Any]] = field(default_factory=list)

    def named(self, *names: str) -> list[tuple[str, Any]]:
        """The entries with these names, in their order."""
        return [entry for entry in self.entries if entry[0] in names]

    def said(self, name: str) -> list[tuple[Any, ...]]:
        """The positional arguments of the entries with this name."""
        return [args for _, (args, _) in self.named(name)]

    def facts(self, name: str) -> list[dict[str, Any]]:
        """The keyword arguments of the entries with this name."""
        return [kwargs for _, (_, kwargs) in self.named(name)]

    @property
    def outcomes(self) -> list[str]:
        """How the reservations ended, in the order of their ends."""
        return [outcome for (outcome,) in self.said("settled")]

    def run(self, run_id: str, agent: str) -> Any:
        return SILENT.run(run_id, agent)

    def reservation(self, _: Step) -> Diary:
        return self

    def call(self, _: Step) -> Diary:
        return self

    def recovered(self, *_: object) -> Diary:
        return self

    def link(self) -> str | None:
        return None

    def calling(self, operation: str, attempt: int = 0, **_: Any) -> AbstractContextManager[None]:
        self.entries.append(("calling", ((operation, attempt), {})))
        return nullcontext()

    def __getattr__(self, name: str) -> Callable[..., None]:
        def note(*args: Any, **kwargs: Any) -> None:
            self.entries.append((name, (args, kwargs)))

        return note
