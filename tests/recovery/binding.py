"""How a test is bound to a scenario of the protocol suite's recovery profile for SDKs (``cycles-sdk-recovery`` 0.3).

The profile has three levels: core, durable and boundary. This package is *durable* by its words, so that it has to
pass every scenario.
"""

from __future__ import annotations

import pytest

SCENARIOS = (
    *("CR-CORE-001", "CR-CORE-002", "CR-CORE-003", "CR-CORE-004"),
    *("CR-DURABLE-001", "CR-DURABLE-002", "CR-DURABLE-003", "CR-DURABLE-004"),
    *("CR-DURABLE-005", "CR-DURABLE-006", "CR-DURABLE-007"),
    "CR-BOUNDARY-001",
)


def scenario(scenario_id: str, *, faults: tuple[str, ...]) -> pytest.MarkDecorator:
    """Bind a test to a scenario, with the faults that the test lets happen, in their order."""
    assert scenario_id in SCENARIOS
    return pytest.mark.scenario(scenario_id, faults=faults)
