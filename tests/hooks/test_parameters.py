"""Bad input is an error at once, which names the parameter, the value and what is accepted."""

from __future__ import annotations

import math
from typing import Any

import pytest
from agents import Runner
from runcycles import CommitOveragePolicy, CyclesConfig, Unit

from cycles_otel import InvalidParameterError, ToolRiskConfig, ToolRiskMap, cycles_budget_guardrail
from cycles_otel.errors import InvalidParameterTypeError
from cycles_otel.local import LocalCycles
from tests.hooks.conftest import MakeHooks
from tests.hooks.construction import Make, both, connection, guardrail, hooks, refused
from tests.hooks.desk import DONE, PricedModel, agent

LEVELS = ("tenant", "workspace", "app", "workflow", "agent")
NOT_AMOUNTS = (True, 1.5, "5", None, math.nan)
OUT_OF_RANGE = (-1, 2**63)


class TestUnknown:
    @both
    def test_a_parameter_that_does_not_exist_is_named(self, make: Make) -> None:
        with pytest.raises(TypeError, match="tenent"):
            make(tenent="acme")


class TestTypes:
    @both
    @pytest.mark.parametrize("parameter", LEVELS)
    @pytest.mark.parametrize("value", [5, True, ["acme"]])
    def test_a_level_of_the_subject_is_a_text(self, make: Make, parameter: str, value: object) -> None:
        assert isinstance(refused(make, parameter, value), TypeError)

    @both
    @pytest.mark.parametrize("parameter", ["fail_open", "dry_run"])
    @pytest.mark.parametrize("value", [1, "true", None])
    def test_a_switch_is_true_or_false(self, make: Make, parameter: str, value: object) -> None:
        assert refused(make, parameter, value).accepted == "True or False"

    @both
    @pytest.mark.parametrize("value", ["telemetry", 5, object])
    def test_a_recorder_is_a_recorder(self, make: Make, value: object) -> None:
        assert isinstance(refused(make, "recorder", value), TypeError)

    @pytest.mark.parametrize("value", [["lookup"], "lookup", 5])
    def test_tool_risk_is_a_mapping(self, value: object) -> None:
        assert isinstance(refused(hooks, "tool_risk", value), TypeError)

    @pytest.mark.parametrize("value", [5, "acme", {"tenant": "acme"}])
    def test_subject_is_a_function(self, value: object) -> None:
        assert isinstance(refused(hooks, "subject", value), TypeError)

    @pytest.mark.parametrize("parameter", ["settle_timeout", "max_cooldown"])
    @pytest.mark.parametrize("value", [-1, -0.5, math.nan, "5", None, True])
    def test_a_time_is_a_number_of_seconds(self, parameter: str, value: object) -> None:
        assert "seconds" in refused(hooks, parameter, value).accepted

    @pytest.mark.parametrize("value", [5, ""])
    def test_the_name_of_a_guardrail_is_a_text(self, value: object) -> None:
        refused(guardrail, "name", value)


class TestAmounts:
    @pytest.mark.parametrize("value", NOT_AMOUNTS)
    @pytest.mark.parametrize("parameter", ["llm_estimate", "default_tool_risk"])
    def test_what_is_no_whole_number_is_refused(self, parameter: str, value: object) -> None:
        assert isinstance(refused(hooks, parameter, value), InvalidParameterTypeError)

    @pytest.mark.parametrize("value", OUT_OF_RANGE)
    @pytest.mark.parametrize("parameter", ["llm_estimate", "default_tool_risk"])
    def test_what_the_server_cannot_hold_is_refused(self, parameter: str, value: object) -> None:
        assert "from 0 to 9223372036854775807" in refused(hooks, parameter, value).accepted

    @pytest.mark.parametrize("value", [*NOT_AMOUNTS, *OUT_OF_RANGE])
    def test_the_estimate_of_a_guardrail_is_checked_as_well(self, value: object) -> None:
        refused(guardrail, "estimate", value)

    def test_nothing_is_an_amount(self) -> None:
        hooks(llm_estimate=0, default_tool_risk=0)
        guardrail(estimate=0)


class TestTimeToLive:
    @pytest.mark.parametrize("value", [999, 86_400_001, 0, -1, 60_000.0, True, "60000"])
    def test_what_is_not_from_a_second_to_a_day_is_refused(self, value: object) -> None:
        assert refused(hooks, "ttl_ms", value).accepted == "a whole number from 1000 to 86400000"

    @pytest.mark.parametrize("value", [1_000, 86_400_000])
    def test_a_second_and_a_day_are_accepted(self, value: int) -> None:
        hooks(ttl_ms=value)


class TestChoices:
    @pytest.mark.parametrize(
        ("make", "parameter"), [(hooks, "llm_unit"), (guardrail, "unit")], ids=["hooks", "guardrail"]
    )
    @pytest.mark.parametrize("value", ["EUROS", "tokens", "", 5, None])
    def test_a_unit_that_does_not_exist_is_refused(self, make: Make, parameter: str, value: object) -> None:
        accepted = refused(make, parameter, value).accepted
        assert accepted == "one of USD_MICROCENTS, TOKENS, CREDITS, RISK_POINTS"

    @pytest.mark.parametrize("value", ["NEVER", "reject", 5, None, Unit.TOKENS])
    def test_an_overage_policy_that_does_not_exist_is_refused(self, value: object) -> None:
        accepted = refused(hooks, "overage_policy", value).accepted
        assert all(policy.value in accepted for policy in CommitOveragePolicy)

    @both
    @pytest.mark.parametrize("value", ["deny", True, None, []])
    def test_unbudgeted_is_one_of_two_words(self, make: Make, value: object) -> None:
        assert refused(make, "unbudgeted", value).accepted == "one of raise, allow"

    @pytest.mark.parametrize("value", ["keep", None])
    def test_unknown_spend_is_one_of_two_words(self, value: object) -> None:
        assert refused(hooks, "unknown_spend", value).accepted == "one of release, commit_estimate"

    async def test_enums_take_their_values_as_texts(self, make_hooks: MakeHooks, server: LocalCycles) -> None:
        made = make_hooks(llm_unit="USD_MICROCENTS", overage_policy="REJECT")
        await Runner.run(agent(PricedModel(DONE)), "hello", hooks=made)
        assert [(each.unit, each.overage_policy) for each in server.ledger().reservations] == [
            ("USD_MICROCENTS", "REJECT")
        ]

    async def test_enums_take_their_members(self, make_hooks: MakeHooks, server: LocalCycles) -> None:
        made = make_hooks(llm_unit=Unit.USD_MICROCENTS, overage_policy=CommitOveragePolicy.ALLOW_WITH_OVERDRAFT)
        await Runner.run(agent(PricedModel(DONE)), "hello", hooks=made)
        assert [each.overage_policy for each in server.ledger().reservations] == ["ALLOW_WITH_OVERDRAFT"]


class TestTenant:
    @both
    def test_one_must_be_given(self, make: Make) -> None:
        error = refused(make, "tenant", None, config=connection(tenant=None))
        assert "CYCLES_TENANT" in error.accepted

    def test_a_function_may_give_it_for_each_run(self) -> None:
        hooks(config=connection(tenant=None), subject=lambda context: {"tenant": "acme"})

    @both
    @pytest.mark.parametrize("value", ["", "two words", "acmé", "a/b", "x" * 129])
    def test_it_must_be_as_the_server_has_it(self, make: Make, value: str) -> None:
        refused(make, "tenant", value)

    @both
    def test_that_of_the_config_is_checked_as_well(self, make: Make) -> None:
        with pytest.raises(InvalidParameterError, match="tenant='two words'"):
            make(config=connection(tenant="two words"))


class TestToolRisk:
    @pytest.mark.parametrize("value", [-1, 1.5, True, "5", None, 2**63])
    def test_the_points_of_a_tool_are_checked_and_the_tool_is_named(self, value: Any) -> None:
        for make in (lambda: ToolRiskMap({"shell": value}), lambda: hooks(tool_risk={"shell": value})):
            with pytest.raises(InvalidParameterError) as caught:
                make()
            assert str(caught.value).startswith(f"tool_risk['shell']={value!r} is not accepted: a whole number")

    @pytest.mark.parametrize("value", [-1, 1.5, True, "5", None])
    def test_the_points_of_a_config_are_checked(self, value: Any) -> None:
        refused(ToolRiskConfig, "risk_points", value)

    @pytest.mark.parametrize("value", ["", 5, "x" * 65])
    def test_the_kind_of_a_config_is_checked(self, value: Any) -> None:
        refused(ToolRiskConfig, "action_kind", value, risk_points=1)

    @pytest.mark.parametrize("value", [-1, 1.5, True])
    def test_the_default_of_a_map_is_checked(self, value: Any) -> None:
        refused(ToolRiskMap, "default_risk", value)

    @pytest.mark.parametrize("mapping", [["shell"], "shell", 5])
    def test_a_map_is_made_from_a_mapping(self, mapping: Any) -> None:
        with pytest.raises(InvalidParameterTypeError, match="tool_risk="):
            ToolRiskMap(mapping)

    @pytest.mark.parametrize("name", ["", 5])
    def test_a_tool_has_a_name(self, name: Any) -> None:
        with pytest.raises(InvalidParameterError, match="tool_risk="):
            ToolRiskMap({name: 1})

    @pytest.mark.parametrize("kind", ["message.fax.send", "", 5, ["db.query"]])
    def test_a_kind_that_the_registry_does_not_have_is_refused(self, kind: Any) -> None:
        with pytest.raises(InvalidParameterError) as caught:
            ToolRiskMap.from_kinds({"fax": kind})
        assert str(caught.value).startswith(f"kinds['fax']={kind!r} is not accepted: a kind of the registry")

    @pytest.mark.parametrize("kinds", [["db.query"], None, "db.query"])
    def test_kinds_are_a_mapping(self, kinds: Any) -> None:
        with pytest.raises(InvalidParameterTypeError, match="kinds="):
            ToolRiskMap.from_kinds(kinds)

    def test_a_risk_class_that_does_not_exist_is_refused(self) -> None:
        with pytest.raises(InvalidParameterError, match=r"'harmless'.*read_only"):
            ToolRiskMap.from_kinds({"query": "db.query"}, points={"harmless": 1})

    @pytest.mark.parametrize("value", [-1, 1.5, True])
    def test_the_points_of_a_risk_class_are_checked(self, value: Any) -> None:
        with pytest.raises(InvalidParameterError) as caught:
            ToolRiskMap.from_kinds({"query": "db.query"}, points={"high_risk": value})
        assert str(caught.value).startswith(f"points['high_risk']={value!r} is not accepted")


class TestBind:
    def test_a_level_that_does_not_exist_is_refused(self) -> None:
        with pytest.raises(InvalidParameterError, match=r"'customer'.*tenant, workspace, app, workflow, agent"):
            hooks().bind(customer="acme")

    @pytest.mark.parametrize("value", [5, ""])
    def test_a_level_is_a_text(self, value: Any) -> None:
        refused(hooks().bind, "workflow", value)

    def test_a_tenant_must_be_as_the_server_has_it(self) -> None:
        refused(hooks().bind, "tenant", "two words")


class TestSubjectFunction:
    @pytest.mark.parametrize("levels", [{"customer": "acme"}, "acme", None, 5, {"tenant": 5}, {"tenant": "two words"}])
    async def test_what_is_no_subject_stops_the_run_before_it_costs_anything(
        self, levels: Any, make_hooks: MakeHooks, server: LocalCycles
    ) -> None:
        model = PricedModel(DONE)
        with pytest.raises(InvalidParameterError, match=r"subject|tenant"):
            await Runner.run(agent(model), "hello", hooks=make_hooks(subject=lambda context: levels))
        assert (model.calls, server.requests) == ((), ())

    async def test_a_run_needs_a_tenant_from_somewhere(self, make_hooks: MakeHooks, server: LocalCycles) -> None:
        made = make_hooks(config=server.config(), subject=lambda context: {})
        await Runner.run(agent(PricedModel(DONE)), "hello", hooks=made)
        nobody = CyclesConfig(base_url=server.url, api_key=server.api_key, journal_enabled=False)
        with pytest.raises(InvalidParameterError, match="subject=None"):
            await Runner.run(
                agent(PricedModel(DONE)), "hello", hooks=make_hooks(config=nobody, subject=lambda context: {})
            )


class TestGuardrailName:
    def test_it_is_the_one_given(self) -> None:
        assert cycles_budget_guardrail(config=connection(), name="budget").get_name() == "budget"
