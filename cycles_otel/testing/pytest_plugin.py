"""The pytest fixtures `local_cycles`, `cycles_spans` and `cycles_metrics`, each for one test.

    def test_the_run_is_charged(local_cycles, cycles_spans, cycles_metrics):
        hooks = CyclesRunHooks(config=local_cycles.config())
        ...
        assert_denied(cycles_spans.of(agent="helper").tool_calls, at=3)
        assert cycles_metrics.value("cycles_client_denials_total", agent="helper") == 1
        assert_spent(local_cycles, USD_MICROCENTS=1234)

Other budgets than the default ones stand in a marker, which takes the parameters of `LocalCycles`:

    @pytest.mark.local_cycles(budgets={"tenant:acme": {"USD_MICROCENTS": 100}})
    def test_the_step_is_denied(local_cycles): ...

A test that fails shows what they saw. Nothing else of the package is imported before a test uses a fixture.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cycles_otel.local.server import LocalCycles
    from cycles_otel.testing import CyclesMetrics, CyclesSpans

DEFAULT_BUDGETS = {
    "tenant:acme": {"USD_MICROCENTS": 100_000_000_000, "TOKENS": 100_000_000, "RISK_POINTS": 1_000_000},
}
"""A tenant with plenty: 1,000 USD, a hundred million tokens, a million risk points."""

_A_MOMENT = 1.0
"""How long what an earlier test left in the background is waited for, in s."""


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, so that strict runs accept it."""
    config.addinivalue_line(
        "markers", "local_cycles(budgets=..., **parameters): what the server of the local_cycles fixture starts with"
    )


@pytest.fixture
def local_cycles(request: pytest.FixtureRequest) -> Iterator[LocalCycles]:
    """A running embedded Cycles server; by default tenant `acme` has plenty of money, tokens and risk points."""
    from cycles_otel.local import LocalCycles

    marker = request.node.get_closest_marker("local_cycles")
    parameters = {"budgets": DEFAULT_BUDGETS, **(marker.kwargs if marker is not None else {})}
    with LocalCycles(**parameters) as server:
        yield server


@pytest.fixture
def cycles_spans() -> Iterator[CyclesSpans]:
    """The Cycles spans of this test, kept in memory, whatever tracer provider the program has."""
    from cycles_otel.testing import CyclesSpans, settled

    settled(_A_MOMENT)
    with CyclesSpans().watching() as spans:
        yield spans


@pytest.fixture
def cycles_metrics() -> Iterator[CyclesMetrics]:
    """The Cycles metrics of this test, counted from zero, whatever registry the program has."""
    from cycles_otel.testing import CyclesMetrics, settled

    settled(_A_MOMENT)
    with CyclesMetrics().watching() as metrics:
        yield metrics


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Beside a failure show what the fixtures of the test saw, unless its message does."""
    report = yield
    if report.failed and call.when == "call" and call.excinfo is not None:
        message = str(call.excinfo.value)
        report.sections += [(name, text) for name, text in _seen(item) if text not in message]
    return report


def _seen(item: pytest.Item) -> Iterator[tuple[str, str]]:
    fixtures = getattr(item, "funcargs", {})
    for name in ("cycles_spans", "cycles_metrics"):
        if name in fixtures:
            yield name, str(fixtures[name])
    if "local_cycles" in fixtures:
        from cycles_otel.testing.ledger import described

        yield "local_cycles", described(fixtures["local_cycles"].ledger())
