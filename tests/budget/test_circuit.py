"""An outage costs little: after five requests without an answer nothing waits for a timeout, until one answers."""

from __future__ import annotations

import pytest

from cycles_otel.budget.circuit import UNANSWERED_IN_A_ROW, Circuit
from cycles_otel.budget.decision import Ruling
from cycles_otel.budget.governor import Governor
from cycles_otel.budget.policy import Policy
from cycles_otel.local import Fault, LocalCycles
from tests.budget.conftest import MakeGovernor
from tests.budget.desk import Diary, outcome, reserve, sent, step, until, used


async def refused(governor: Governor) -> str:
    """A step that gets no answer, and why."""
    verdict = (await governor.reserve(step())).verdict
    assert verdict.ruling in (Ruling.GO_UNENFORCED, Ruling.UNAVAILABLE)
    return verdict.reason


async def open_circuit(governor: Governor, server: LocalCycles) -> None:
    """Let so many requests go without an answer that the circuit opens, and all that follow as well."""
    server.inject(Fault(status=503, times=None))
    while await refused(governor) != "circuit_open":
        pass


class TestOpening:
    @pytest.mark.parametrize(
        ("fail_open", "ruling"), [(True, Ruling.GO_UNENFORCED), (False, Ruling.UNAVAILABLE)], ids=["open", "closed"]
    )
    async def test_a_step_is_not_asked_for_after_five_requests_without_an_answer(
        self, server: LocalCycles, make_governor: MakeGovernor, diary: Diary, fail_open: bool, ruling: Ruling
    ) -> None:
        governor = make_governor(Policy(fail_open=fail_open))
        await open_circuit(governor, server)
        assert diary.said("circuit") == [(True,)]
        asked = len(sent(server, "reserve"))
        assert asked >= UNANSWERED_IN_A_ROW
        verdict = (await governor.reserve(step())).verdict
        assert (verdict.ruling, verdict.reason) == (ruling, "circuit_open")
        decision = await governor.decide(step())
        assert (decision.ruling, decision.reason) == (ruling, "circuit_open")
        assert not sent(server, "decide")

    async def test_an_answer_between_them_begins_the_count_anew(
        self, server: LocalCycles, governor: Governor, diary: Diary
    ) -> None:
        for _ in range(3):
            server.inject(Fault("decide", status=500, times=UNANSWERED_IN_A_ROW - 1))
            for _ in range(UNANSWERED_IN_A_ROW):
                await governor.decide(step())
        assert diary.said("circuit") == []

    async def test_a_denial_is_an_answer(self, server: LocalCycles, governor: Governor, diary: Diary) -> None:
        server.set_budget("tenant:acme", "TOKENS", allocated=0)
        for _ in range(UNANSWERED_IN_A_ROW + 1):
            await governor.reserve(step())
        assert diary.said("circuit") == []

    async def test_another_governor_has_a_circuit_of_its_own(
        self, server: LocalCycles, make_governor: MakeGovernor
    ) -> None:
        await open_circuit(make_governor(), server)
        server.clear_faults()
        assert (await make_governor().reserve(step())).verdict.ruling is Ruling.GO


class TestClosing:
    @pytest.mark.parametrize("tenant", ["acme", None])
    async def test_a_probe_looks_for_the_server_and_its_first_answer_closes_the_circuit(
        self, server: LocalCycles, make_governor: MakeGovernor, diary: Diary, tenant: str | None
    ) -> None:
        governor = make_governor(tenant=tenant)
        await open_circuit(governor, server)
        server.clear_faults()
        await until(lambda: diary.said("circuit") == [(True,), (False,)])
        probes = [each for each in server.requests if each.operation in ("balances", "list")]
        assert probes
        await outcome((await reserve(governor)).release("requested"))

    async def test_a_settlement_that_is_answered_closes_it_as_well(
        self, server: LocalCycles, make_governor: MakeGovernor, diary: Diary
    ) -> None:
        governor = make_governor(retry_initial_delay=0.05, retry_max_delay=0.05, tenant=None)
        reservation = await reserve(governor)
        await open_circuit(governor, server)
        settlement = reservation.commit(used(40))
        server.clear_faults()
        server.inject(Fault("list", status=503, times=None))
        server.inject(Fault("balances", status=503, times=None))
        assert await outcome(settlement) == "committed"
        assert diary.said("circuit")[-1] == (False,)

    async def test_probes_end_with_the_connection(self, server: LocalCycles, governor: Governor, diary: Diary) -> None:
        await open_circuit(governor, server)
        await governor.aclose()
        assert diary.said("circuit") == [(True,), (False,)]


async def test_a_probe_that_fails_in_whatever_way_does_not_end_the_search() -> None:
    probes: list[str] = []

    async def probe() -> None:
        probes.append("sent")
        if len(probes) == 1:
            raise AssertionError("a fault of a library")
        circuit.heard(answered=True)

    circuit = Circuit(probe, lambda is_open: None)
    for _ in range(UNANSWERED_IN_A_ROW):
        circuit.heard(answered=False)
    await until(lambda: not circuit.is_open)
    assert len(probes) == 2
