"""The pytest fixture `local_cycles`: an embedded Cycles server for each test that asks for it.

    def test_the_run_is_charged(local_cycles):
        hooks = CyclesRunHooks(config=local_cycles.config())
        ...
        assert local_cycles.ledger().charged("USD_MICROCENTS") == 1234

Other budgets than the default ones stand in a marker, which takes the parameters of `LocalCycles`:

    @pytest.mark.local_cycles(budgets={"tenant:acme": {"USD_MICROCENTS": 100}})
    def test_the_step_is_denied(local_cycles): ...

Nothing of the server is imported before a test uses the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cycles_otel.local.server import LocalCycles

DEFAULT_BUDGETS = {
    "tenant:acme": {"USD_MICROCENTS": 100_000_000_000, "TOKENS": 100_000_000, "RISK_POINTS": 1_000_000},
}
"""A tenant with plenty: 1,000 USD, a hundred million tokens, a million risk points."""


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
