"""Every cell of the decision table: what came back, for which kind of step, and what ``fail_open`` makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from agents.exceptions import AgentsException, UserError
from runcycles import (
    BudgetExceededError,
    CyclesProtocolError,
    CyclesTransportError,
    DebtOutstandingError,
    OverdraftLimitExceededError,
    TenantClosedError,
)

from cycles_otel import CyclesConfigurationError, CyclesUnavailableError, StepDeniedError
from cycles_otel.local import Fault, LocalCycles
from cycles_otel.telemetry import semconv
from tests.hooks.attempt import GUARDRAIL, KINDS, LLM, TOOL, Arrange, Attempt, Kind, nothing
from tests.hooks.desk import BUDGETS, COST
from tests.telemetry.witness import Witness

each_kind = pytest.mark.parametrize("kind", KINDS, ids=str)
each_fail_open = pytest.mark.parametrize("fail_open", [True, False], ids=["open", "closed"])


@pytest.fixture
def server() -> Iterator[LocalCycles]:
    """Beside acme: tenants that have no budget, dollars only, points only, and caps at the deepest scope of a step."""
    caps = {"max_tokens": 100, "tool_allowlist": ["lookup"]}
    budgets: Mapping[str, Mapping[str, Any]] = {
        **BUDGETS,
        "tenant:dollars": {"USD_MICROCENTS": 10_000_000},
        "tenant:points": {"RISK_POINTS": 1_000},
        "tenant:capped/agent:desk": {"USD_MICROCENTS": {"allocated": 10_000_000, "caps": caps}},
        "tenant:capped/agent:desk/toolset:lookup": {"RISK_POINTS": {"allocated": 1_000, "caps": caps}},
    }
    with LocalCycles(budgets=budgets, tenants=["acme", "bare", "dollars", "points"]) as server:
        yield server


def budget(**changes: Any) -> Arrange:
    """The operator changes the budget that the step is asked of."""
    return lambda server, kind: server.set_budget("tenant:acme", kind.unit, **changes)


def tenant(status: str) -> Arrange:
    """The operator changes the status of the tenant."""
    return lambda server, _: server.set_tenant("acme", status)


def answer(status: int, code: str, message: str = "made up") -> Arrange:
    """The server answers with an error of the protocol."""
    body = {"error": code, "message": message, "request_id": "request-1", "trace_id": "trace-1"}
    return fault(status=status, body=body)


def fault(**what: Any) -> Arrange:
    """Something is wrong with each request that asks for the step, unless ``times`` says for how many."""
    return lambda server, kind: server.inject(Fault(**{"operation": kind.operation, "times": None, **what}))


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Parameters
    ----------
    reason: the reason code, or the ``error.type``.
    error: what the step raises, of the classes of runcycles.
    tenant_of: the tenant whose agent makes the step, by the kind of step; acme by default.
    """

    name: str
    arrange: Arrange
    reason: str
    error: type[Exception] = BudgetExceededError
    tenant_of: dict[Kind, str] = field(default_factory=dict)
    connection: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def options(self, kind: Kind) -> dict[str, Any]:
        return {"tenant": self.tenant_of.get(kind, "acme"), "connection": self.connection}


def no_budget_for_the_tool(server: LocalCycles, kind: Kind) -> None:
    """A tool's scope lies below that of the LLM call, which has a budget: its 404 must be made up."""
    if kind is TOOL:
        answer(404, "NOT_FOUND", "Budget not found for provided scope: tenant:acme/agent:desk")(server, kind)


DENIALS = [
    Row("exceeded", budget(allocated=0), "BUDGET_EXCEEDED"),
    Row("frozen", budget(status="FROZEN"), "BUDGET_FROZEN"),
    Row("closed", budget(status="CLOSED"), "BUDGET_CLOSED"),
    Row("over limit", budget(is_over_limit=True), "OVERDRAFT_LIMIT_EXCEEDED", OverdraftLimitExceededError),
    Row("debt", budget(debt=5), "DEBT_OUTSTANDING", DebtOutstandingError),
    Row("tenant closed, 409", answer(409, "TENANT_CLOSED"), "TENANT_CLOSED", TenantClosedError),
    Row("tenant closed, 401", tenant("CLOSED"), "TENANT_CLOSED", TenantClosedError),
    Row("tenant suspended, 401", tenant("SUSPENDED"), "TENANT_SUSPENDED"),
    Row("tenant suspended, 403", answer(403, "FORBIDDEN", "TENANT_SUSPENDED"), "TENANT_SUSPENDED"),
    Row("a denial of a later protocol", answer(409, "SOMETHING_NEW"), "SOMETHING_NEW"),
    Row("200 DENY", fault(body={"decision": "DENY", "reason_code": "BUDGET_EXCEEDED"}), "BUDGET_EXCEEDED"),
    Row("no budget", no_budget_for_the_tool, "BUDGET_NOT_FOUND", tenant_of={LLM: "bare", GUARDRAIL: "bare"}),
]
MISCONFIGURATIONS = [
    Row("400", answer(400, "INVALID_REQUEST", "subject is wrong"), "INVALID_REQUEST"),
    Row("401", answer(401, "UNAUTHORIZED", "KEY_REVOKED"), "UNAUTHORIZED"),
    Row("403", answer(403, "FORBIDDEN", "Tenant does not match"), "FORBIDDEN"),
    Row("409 of a key used twice", answer(409, "IDEMPOTENCY_MISMATCH"), "IDEMPOTENCY_MISMATCH"),
    Row("another 4xx", answer(422, "INVALID_REQUEST"), "INVALID_REQUEST"),
    Row("unit", nothing, "UNIT_MISMATCH", tenant_of={LLM: "points", TOOL: "dollars", GUARDRAIL: "points"}),
]
HTML = "<html><body>Bad gateway</body></html>"
JSON_HEADER = {"content-type": "application/json"}
LACKS = [
    Row("refused", lambda server, _: server.stop(), "connection_error"),
    Row("dropped", fault(drop="before"), "connection_error"),
    Row("timeout", fault(status=503, delay=2.0), "timeout", connection={"read_timeout": 0.1}),
    Row("500", fault(status=500), "INTERNAL_ERROR"),
    Row("500 with an empty object", fault(status=500, body={}), "500"),
    Row("502 HTML", fault(status=502, body=HTML), "502"),
    Row("404 HTML", fault(status=404, body=HTML), "404"),
    Row("200 HTML", fault(status=200, body=HTML), "_OTHER"),
    Row("truncated JSON", fault(body='{"decision": "ALL', headers=JSON_HEADER), "_OTHER"),
    Row("a list", fault(body="[]", headers=JSON_HEADER), "_OTHER"),
    Row("a decision that does not exist", fault(body={"decision": "MAYBE", "reservation_id": "r"}), "_OTHER"),
    Row("429, long Retry-After", fault(status=429, headers={"Retry-After": "30"}), "LIMIT_EXCEEDED"),
    Row("429, no Retry-After", fault(status=429), "LIMIT_EXCEEDED"),
]
each_denial = pytest.mark.parametrize("row", DENIALS, ids=str)
each_misconfiguration = pytest.mark.parametrize("row", MISCONFIGURATIONS, ids=str)
each_lack = pytest.mark.parametrize("row", LACKS, ids=str)


@each_kind
@each_fail_open
class TestAllowed:
    async def test_a_step_that_is_allowed_runs(
        self, kind: Kind, fail_open: bool, server: LocalCycles, witness: Witness
    ) -> None:
        outcome = await Attempt(kind, server, witness).make(fail_open=fail_open)
        assert outcome.error is None
        assert outcome.ran
        assert [(each.status, each.response_body["decision"]) for each in outcome.asked] == [(200, "ALLOW")]

    async def test_a_step_that_is_allowed_with_caps_runs(
        self, kind: Kind, fail_open: bool, server: LocalCycles, witness: Witness
    ) -> None:
        outcome = await Attempt(kind, server, witness).make(tenant="capped", fail_open=fail_open)
        assert outcome.error is None
        assert outcome.ran
        assert [each.response_body["decision"] for each in outcome.asked] == ["ALLOW_WITH_CAPS"]


@each_kind
@each_fail_open
@each_denial
class TestDenied:
    async def test_a_denied_step_does_not_run_and_costs_nothing(
        self, row: Row, kind: Kind, fail_open: bool, server: LocalCycles, witness: Witness
    ) -> None:
        outcome = await Attempt(kind, server, witness, row.arrange).make(fail_open=fail_open, **row.options(kind))
        assert not outcome.ran
        assert outcome.after == outcome.before
        assert len(outcome.asked) == 1
        assert witness.total(semconv.UNENFORCED_STEPS) == 0
        assert witness.total(semconv.UNBUDGETED_STEPS) == 0
        if kind is GUARDRAIL:
            assert (outcome.tripped["decision"], outcome.tripped["reason_code"]) == ("DENY", row.reason)
            return
        assert isinstance(outcome.error, row.error)
        assert isinstance(outcome.error, StepDeniedError)
        assert isinstance(outcome.error, BudgetExceededError)
        assert isinstance(outcome.error, AgentsException)
        assert not isinstance(outcome.error, UserError)
        assert outcome.error.reason_code == row.reason
        assert outcome.error.unit == kind.unit


class TestWhatADenialSays:
    @pytest.mark.parametrize("kind", [LLM, TOOL], ids=str)
    async def test_it_names_the_scope_the_unit_and_where_to_look_in_the_server_s_log(
        self, kind: Kind, server: LocalCycles, witness: Witness
    ) -> None:
        outcome = await Attempt(kind, server, witness, budget(allocated=0)).make()
        error, (asked,) = outcome.error, outcome.asked
        assert isinstance(error, StepDeniedError)
        deepest = "tenant:acme/agent:desk" + ("/toolset:lookup" if kind is TOOL else "")
        assert (error.scope, error.unit, error.status) == (deepest, kind.unit, 409)
        assert error.amount == asked.body["estimate"]["amount"]
        assert error.request_id == asked.response_headers["x-request-id"]
        assert error.trace_id == asked.response_headers["x-cycles-trace-id"]
        for part in ("BUDGET_EXCEEDED", deepest, kind.unit, "lookup" if kind is TOOL else "gpt-4o"):
            assert part in str(error)

    @pytest.mark.parametrize(
        ("answer", "pause"),
        [
            ({"body": {"decision": "DENY", "reason_code": "BUDGET_EXCEEDED", "retry_after_ms": 1_500}}, 1_500),
            ({"status": 409, "headers": {"Retry-After": "3"}}, 3_000),
            ({"body": {"decision": "DENY", "reason_code": "BUDGET_EXCEEDED", "retry_after_ms": -1}}, None),
            ({"body": {"decision": "DENY", "reason_code": "BUDGET_EXCEEDED"}}, None),
        ],
        ids=["body", "header", "nonsense", "nothing"],
    )
    async def test_it_tells_when_another_try_may_help(
        self, answer: Mapping[str, Any], pause: int | None, server: LocalCycles, witness: Witness
    ) -> None:
        outcome = await Attempt(LLM, server, witness, fault(**answer)).make()
        assert isinstance(outcome.error, StepDeniedError)
        assert outcome.error.retry_after_ms == pause

    async def test_a_missing_budget_is_named_with_what_to_do(self, server: LocalCycles, witness: Witness) -> None:
        outcome = await Attempt(LLM, server, witness).make(tenant="bare")
        assert "tenant:bare/agent:desk" in str(outcome.error)
        assert "unbudgeted='allow'" in str(outcome.error)

    async def test_a_reservation_that_is_denied_is_counted_once(self, server: LocalCycles, witness: Witness) -> None:
        await Attempt(TOOL, server, witness, budget(status="FROZEN")).make()
        denied = {"cycles_decision": "DENY", "cycles_reason_code": "BUDGET_FROZEN", "cycles_action_kind": "tool.invoke"}
        assert witness.total(semconv.DECISIONS, **denied) == 1


@each_kind
@each_fail_open
@each_misconfiguration
class TestSetUpWrongly:
    async def test_the_step_does_not_run_and_the_error_says_what_the_server_said(
        self, row: Row, kind: Kind, fail_open: bool, server: LocalCycles, witness: Witness
    ) -> None:
        outcome = await Attempt(kind, server, witness, row.arrange).make(fail_open=fail_open, **row.options(kind))
        assert not outcome.ran
        assert outcome.after == outcome.before
        assert isinstance(outcome.error, CyclesConfigurationError)
        assert isinstance(outcome.error, CyclesProtocolError)
        assert isinstance(outcome.error, AgentsException)
        assert not isinstance(outcome.error, BudgetExceededError)
        assert outcome.error.reason_code == row.reason
        assert outcome.error.request_id == outcome.asked[0].response_body["request_id"]
        assert outcome.asked[0].response_body["message"] in str(outcome.error)
        assert witness.total(semconv.UNENFORCED_STEPS) == 0


class TestWhatToMend:
    async def test_a_tool_without_a_risk_budget_is_told_each_way_out(
        self, server: LocalCycles, witness: Witness
    ) -> None:
        outcome = await Attempt(TOOL, server, witness).make(tenant="dollars")
        said = str(outcome.error)
        for part in ("Create a RISK_POINTS budget at tenant:dollars", "default_tool_risk=0", "unbudgeted='allow'"):
            assert part in said

    async def test_default_tool_risk_0_is_a_way_out(self, server: LocalCycles, witness: Witness) -> None:
        outcome = await Attempt(TOOL, server, witness).make(tenant="dollars", default_tool_risk=0)
        assert (outcome.ran, outcome.error) == (True, None)

    async def test_an_llm_call_in_another_unit_is_told_which_budget_to_create(
        self, server: LocalCycles, witness: Witness
    ) -> None:
        outcome = await Attempt(LLM, server, witness).make(tenant="points")
        said = str(outcome.error)
        for part in ("Create a USD_MICROCENTS budget at tenant:points", "llm_unit", "unbudgeted='allow'"):
            assert part in said

    @pytest.mark.parametrize("kind", [LLM, GUARDRAIL], ids=str)
    async def test_a_wrong_key_is_pointed_at(self, kind: Kind, server: LocalCycles, witness: Witness) -> None:
        wrong = "cyc_test_" + "wrong" * 5
        outcome = await Attempt(kind, server, witness).make(connection={"api_key": wrong})
        assert isinstance(outcome.error, CyclesConfigurationError)
        assert outcome.error.status == 401
        assert "CYCLES_API_KEY" in str(outcome.error)
        assert wrong not in str(outcome.error)

    @pytest.mark.parametrize("kind", [LLM, GUARDRAIL], ids=str)
    async def test_another_tenant_s_key_is_pointed_at(self, kind: Kind, server: LocalCycles, witness: Witness) -> None:
        key_of_another = {"api_key": server.api_key_for("dollars")}
        outcome = await Attempt(kind, server, witness).make(connection=key_of_another)
        assert isinstance(outcome.error, CyclesConfigurationError)
        assert outcome.error.status == 403
        assert "must belong to the tenant 'acme'" in str(outcome.error)


@each_kind
class TestUnbudgetedAllowed:
    @pytest.mark.parametrize("row", [DENIALS[-1], MISCONFIGURATIONS[-1]], ids=str)
    async def test_a_step_without_a_budget_runs_and_is_counted(
        self, row: Row, kind: Kind, server: LocalCycles, witness: Witness
    ) -> None:
        outcome = await Attempt(kind, server, witness, row.arrange).make(unbudgeted="allow", **row.options(kind))
        assert outcome.error is None
        assert outcome.ran
        assert outcome.after == outcome.before
        series = witness.series(semconv.UNBUDGETED_STEPS)
        expected = {(("cycles_action_kind", kind.action), ("cycles_unit", kind.unit)): 1.0}
        # A guardrail is no step: the steps of its run are counted by themselves.
        assert series == ({} if kind is GUARDRAIL else expected)

    async def test_a_budget_that_is_exhausted_denies_all_the_same(
        self, kind: Kind, server: LocalCycles, witness: Witness
    ) -> None:
        outcome = await Attempt(kind, server, witness, budget(allocated=0)).make(unbudgeted="allow")
        assert not outcome.ran
        assert outcome.error is not None


@each_kind
@each_lack
class TestUnavailable:
    async def test_fail_open_lets_the_step_go_counts_it_and_charges_it_afterwards(
        self, row: Row, kind: Kind, server: LocalCycles, witness: Witness
    ) -> None:
        outcome = await Attempt(kind, server, witness, row.arrange).make(fail_open=True, **row.options(kind))
        assert outcome.error is None
        assert outcome.ran
        gone = row.name == "refused"
        assert outcome.charged == ([] if kind is GUARDRAIL or gone else [COST if kind is LLM else 1])
        series = witness.series(semconv.UNENFORCED_STEPS)
        assert series == {(("cycles_action_kind", kind.action), ("error_type", row.reason)): 1.0}

    async def test_fail_closed_stops_the_step_before_it_runs(
        self, row: Row, kind: Kind, server: LocalCycles, witness: Witness
    ) -> None:
        outcome = await Attempt(kind, server, witness, row.arrange).make(fail_open=False, **row.options(kind))
        assert not outcome.ran
        assert outcome.after == outcome.before
        assert witness.total(semconv.UNENFORCED_STEPS) == 0
        if kind is GUARDRAIL:
            assert (outcome.tripped["decision"], outcome.tripped["reason_code"]) == ("UNAVAILABLE", row.reason)
            return
        assert isinstance(outcome.error, CyclesUnavailableError)
        assert isinstance(outcome.error, CyclesTransportError)
        assert isinstance(outcome.error, AgentsException)
        assert not isinstance(outcome.error, BudgetExceededError)
        assert outcome.error.error_type == row.reason


class TestRateLimits:
    @each_kind
    async def test_a_short_retry_after_is_waited_for_and_the_answer_then_counts(self, kind: Kind) -> None:
        async def asked_again(fail_open: bool) -> None:
            witness = Witness()
            with LocalCycles(budgets=BUDGETS) as server:
                slow_down = fault(status=429, headers={"Retry-After": "1"}, times=1)
                outcome = await Attempt(kind, server, witness, slow_down).make(fail_open=fail_open)
            assert (outcome.ran, outcome.error) == (True, None)
            assert [each.status for each in outcome.asked] == [429, 200]
            assert outcome.asked[1].received_at - outcome.asked[0].received_at >= 1.0
            assert outcome.asked[1].body == outcome.asked[0].body
            assert witness.total(semconv.UNENFORCED_STEPS) == 0

        await asyncio.gather(asked_again(True), asked_again(False))

    async def test_after_a_second_429_the_step_is_without_an_answer(
        self, server: LocalCycles, witness: Witness
    ) -> None:
        slow_down = fault(status=429, headers={"Retry-After": "1"})
        outcome = await Attempt(LLM, server, witness, slow_down).make(fail_open=False)
        assert isinstance(outcome.error, CyclesUnavailableError)
        assert [each.status for each in outcome.asked] == [429, 429]

    async def test_a_long_retry_after_is_not_waited_for(self, server: LocalCycles, witness: Witness) -> None:
        slow_down = fault(status=429, headers={"Retry-After": "2"})
        outcome = await Attempt(LLM, server, witness, slow_down).make(fail_open=True)
        assert [each.status for each in outcome.asked] == [429]


class TestLostReplies:
    async def test_a_reserve_whose_reply_is_lost_is_asked_again_with_its_key(
        self, server: LocalCycles, witness: Witness
    ) -> None:
        outcome = await Attempt(LLM, server, witness, fault(drop="after", times=1)).make(fail_open=False)
        assert (outcome.ran, outcome.error) == (True, None)
        assert outcome.asked[0].body == outcome.asked[1].body
        assert [each.status for each in server.ledger().reservations] == ["COMMITTED"]


class TestDryRun:
    @each_kind
    @pytest.mark.parametrize("row", [*DENIALS, *MISCONFIGURATIONS, *LACKS], ids=str)
    async def test_nothing_is_stopped_and_nothing_is_persisted(
        self, row: Row, kind: Kind, server: LocalCycles, witness: Witness
    ) -> None:
        options = {"fail_open": False, **row.options(kind)}
        outcome = await Attempt(kind, server, witness, row.arrange).make(dry_run=True, **options)
        assert outcome.error is None
        assert outcome.ran
        assert (server.ledger().reservations, server.ledger().events) == ((), ())
        assert {each.operation for each in server.requests} <= {kind.operation, "reserve"}
        assert all(each.body["dry_run"] for each in server.requests if each.operation == "reserve")

    async def test_a_denial_is_recorded_as_one_that_would_have_been(
        self, server: LocalCycles, witness: Witness
    ) -> None:
        await Attempt(TOOL, server, witness, budget(allocated=0)).make(dry_run=True)
        denied = {"cycles_decision": "DENY", "cycles_action_kind": "tool.invoke", "cycles_dry_run": "true"}
        assert witness.total(semconv.DECISIONS, **denied) == 1
        assert witness.total(semconv.AMOUNT_DENIED_TOTAL) == 0
