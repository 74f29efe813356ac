"""Whatever happens, in whatever order, at the same time: the ledger adds up, and nothing is settled twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cycles_otel.local import Budget, LocalCycles, ManualClock
from tests.local.client import USD, Client

AGENTS = ("a1", "a2", "a3")
AMOUNTS = st.integers(min_value=0, max_value=60)
POLICIES = st.sampled_from(["REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT", None])
REFUSALS = (400, 404, 409, 410)


@dataclass(frozen=True)
class Settle:
    """One attempt to settle or to extend a reservation."""

    operation: str
    pick: int
    amount: int


SETTLEMENTS = st.builds(
    Settle,
    operation=st.sampled_from(["commit", "release", "extend"]),
    pick=st.integers(min_value=0, max_value=1_000),
    amount=AMOUNTS,
)


def subject(agent: str) -> dict[str, str]:
    return {"tenant": "acme", "agent": agent}


class LedgerMachine(RuleBasedStateMachine):
    """Drives a server with batches of requests that run at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        budgets = [
            Budget("tenant:acme", USD, 400, overdraft_limit=30),
            Budget("tenant:acme/agent:a1", USD, 150, overdraft_limit=50),
            Budget("tenant:acme/agent:a2", USD, 150),
        ]
        self.server = LocalCycles(budgets, clock=self.clock, sweep_interval=3600.0).start()
        self.client = Client(self.server)
        self.pool = ThreadPoolExecutor(max_workers=4)
        self.reservations: list[str] = []
        self.settled: Counter[str] = Counter()

    def teardown(self) -> None:
        self.pool.shutdown()
        self.client.__exit__()
        self.server.stop()

    @initialize()
    def open_the_pool(self) -> None:
        self.together([lambda: self.client.get("balances", tenant="acme")] * 4)

    def together(self, calls: Sequence[Callable[[], httpx.Response]]) -> list[httpx.Response]:
        responses = [future.result() for future in [self.pool.submit(call) for call in calls]]
        for response in responses:
            assert response.status_code in (200, 201, *REFUSALS), response.text
        return responses

    @rule(wanted=st.lists(st.tuples(st.sampled_from(AGENTS), AMOUNTS, POLICIES), min_size=1, max_size=4))
    def reserve(self, wanted: list[tuple[str, int, str | None]]) -> None:
        calls = [
            partial(self.client.reserve, amount, subject=subject(agent), overage_policy=policy, ttl_ms=5_000)
            for agent, amount, policy in wanted
        ]
        responses = self.together(calls)
        self.reservations += [each.json()["reservation_id"] for each in responses if each.status_code == 200]

    @rule(attempts=st.lists(SETTLEMENTS, min_size=1, max_size=5))
    def settle(self, attempts: list[Settle]) -> None:
        if not self.reservations:
            return
        targets = [self.reservations[attempt.pick % len(self.reservations)] for attempt in attempts]
        pairs = list(zip(attempts, targets, strict=True))
        calls = [partial(self.attempt, attempt, target) for attempt, target in pairs]
        for (attempt, target), response in zip(pairs, self.together(calls), strict=True):
            if attempt.operation != "extend" and response.status_code == 200:
                self.settled[target] += 1

    def attempt(self, attempt: Settle, reservation_id: str) -> httpx.Response:
        if attempt.operation == "commit":
            return self.client.commit(reservation_id, attempt.amount)
        if attempt.operation == "release":
            return self.client.release(reservation_id)
        return self.client.extend(reservation_id, 1 + attempt.amount)

    @rule(wanted=st.lists(st.tuples(st.sampled_from(AGENTS), AMOUNTS, POLICIES), min_size=1, max_size=3))
    def events(self, wanted: list[tuple[str, int, str | None]]) -> None:
        self.together(
            [
                partial(self.client.event, amount, subject=subject(agent), overage_policy=policy)
                for agent, amount, policy in wanted
            ]
        )

    @rule(key=st.sampled_from(["one", "two"]), amount=st.integers(min_value=0, max_value=2))
    def the_same_event_at_the_same_time(self, key: str, amount: int) -> None:
        responses = self.together([lambda: self.client.event(amount, idempotency_key=key)] * 3)
        assert len({response.text for response in responses if response.status_code == 201}) <= 1

    @rule(ms=st.sampled_from([1, 4_000, 6_000, 11_000]))
    def time_passes(self, ms: int) -> None:
        self.clock.advance(ms)

    @rule()
    def sweep(self) -> None:
        self.server.sweep()

    @rule()
    def operator_clears_the_limits(self) -> None:
        for scope, _ in self.server.ledger().budgets:
            self.server.fund(scope, 20)

    @invariant()
    def every_budget_adds_up(self) -> None:
        ledger = self.server.ledger()
        for budget in ledger.budgets.values():
            assert budget.remaining == budget.allocated - budget.spent - budget.reserved - budget.debt
            assert min(budget.allocated, budget.spent, budget.reserved, budget.debt) >= 0
            assert budget.debt <= budget.overdraft_limit

    @invariant()
    def what_is_held_is_held_by_active_reservations(self) -> None:
        ledger = self.server.ledger()
        for budget in ledger.budgets.values():
            holding = [each.reserved for each in ledger.active if budget.scope in each.budgeted_scopes]
            assert budget.reserved == sum(holding)

    @invariant()
    def the_tenant_was_charged_what_its_reservations_and_events_say(self) -> None:
        ledger = self.server.ledger()
        tenant = ledger.budget("tenant:acme")
        assert tenant.spent + tenant.debt == ledger.charged(USD)

    @invariant()
    def no_reservation_is_settled_twice(self) -> None:
        assert all(count == 1 for count in self.settled.values())
        final = {each.id for each in self.server.ledger().reservations if each.status in ("COMMITTED", "RELEASED")}
        assert final == set(self.settled)


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
