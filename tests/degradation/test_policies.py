"""What is given for denials is checked when it is given, by errors that say what is accepted."""

from __future__ import annotations

from typing import Any

import pytest
from agents import ModelSettings

from cycles_otel import CyclesRunHooks, Defer, Disable, Downgrade, InvalidParameterError, Raise
from cycles_otel.local import LocalCycles


@pytest.mark.parametrize(
    ("policy", "given", "message"),
    [
        (Downgrade, {"model": ""}, "model='' is not accepted: a str that is not empty"),
        (Downgrade, {"model": 7}, "model=7 is not accepted"),
        (Downgrade, {"model": "m", "estimate": -1}, "estimate=-1 is not accepted: a whole number"),
        (Downgrade, {"model": "m", "estimate": 1.5}, "estimate=1.5 is not accepted: a whole number"),
        (Downgrade, {"model": "m", "settings": {"top_p": 1}}, "settings=.* is not accepted: an agents.ModelSettings"),
        (Disable, {"message": ""}, "message='' is not accepted"),
        (Disable, {"message": None}, "message=None is not accepted"),
        (Defer, {"timeout": 0}, "timeout=0.0 is not accepted: a number of seconds, more than 0"),
        (Defer, {"timeout": -1}, "timeout=-1 is not accepted"),
        (Defer, {"timeout": float("inf")}, "timeout=inf is not accepted"),
        (Defer, {"timeout": "5"}, "timeout='5' is not accepted"),
        (Defer, {"timeout": 5, "first_pause": 0}, "first_pause=0.0 is not accepted"),
        (Defer, {"timeout": 5, "longest_pause": float("nan")}, "longest_pause=nan is not accepted"),
    ],
)
def test_a_policy_accepts_only_what_it_can_use(policy: type, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        policy(**given)


@pytest.mark.parametrize("value", [None, "raise", 5, Downgrade, Disable(), [], [Raise(), "raise"], [Disable()], {}])
def test_llm_steps_take_policies_for_llm_steps(server: LocalCycles, value: Any) -> None:
    with pytest.raises(InvalidParameterError, match=r"on_llm_denied=.*: Raise\(...\), Downgrade\(...\), Defer\(...\)"):
        CyclesRunHooks(config=server.config(), on_llm_denied=value)


@pytest.mark.parametrize("value", [None, "disable", Disable, Downgrade("m"), [Downgrade("m")], [Raise(), None]])
def test_tool_steps_take_policies_for_tool_steps(server: LocalCycles, value: Any) -> None:
    with pytest.raises(InvalidParameterError, match=r"on_tool_denied=.*: Raise\(...\), Disable\(...\), Defer\(...\)"):
        CyclesRunHooks(config=server.config(), on_tool_denied=value)


def test_policies_are_values() -> None:
    assert Defer(5) == Defer(5.0)
    assert Disable() == Disable()
    assert Downgrade("m") != Downgrade("n")
    assert Downgrade("m", settings=ModelSettings(top_p=1)) == Downgrade("m", settings=ModelSettings(top_p=1))
    policy: Any = Raise()
    with pytest.raises(AttributeError):
        policy.name = "other"
