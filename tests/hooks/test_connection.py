"""Where address, key and subject come from, and that the key is never shown."""

from __future__ import annotations

import math
import traceback
from typing import Any

import pytest
from agents import Runner
from runcycles import AsyncCyclesClient, CyclesClient, CyclesConfig

from cycles_otel import CyclesRunHooks, InvalidParameterError, cycles_budget_guardrail
from cycles_otel.errors import InvalidParameterTypeError
from cycles_otel.local import LocalCycles
from tests.hooks.conftest import MakeHooks
from tests.hooks.construction import ADDRESS, SECRET, Make, both, connection, hooks
from tests.hooks.desk import DONE, CountingTool, PricedModel, agent, calling


class TestConnection:
    @both
    @pytest.mark.parametrize("missing", ["CYCLES_BASE_URL", "CYCLES_API_KEY"])
    def test_a_variable_that_is_missing_is_named(
        self, make: Make, missing: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"CYCLES_BASE_URL": ADDRESS, "CYCLES_API_KEY": SECRET}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv(missing)
        with pytest.raises(ValueError, match=missing):
            make(config=None, tenant="acme")

    @both
    @pytest.mark.parametrize(
        "address",
        [
            *("localhost:7878", "cycles.example.com", "", "ftp://localhost", "http://", "http://a:port", "http://[::1"),
            *(" http://localhost:7878", "http://localhost:7878\n", 5),
        ],
    )
    def test_an_address_needs_a_scheme_and_a_host(self, make: Make, address: Any) -> None:
        with pytest.raises(InvalidParameterError) as caught:
            make(config=connection(base_url=address))
        assert str(caught.value) == f"base_url={address!r} is not accepted: an address such as http://localhost:7878"

    @both
    @pytest.mark.parametrize("key", ["", None, 5])
    def test_a_key_is_a_text(self, make: Make, key: Any) -> None:
        with pytest.raises(InvalidParameterError, match="api_key"):
            make(config=connection(api_key=key))

    @both
    @pytest.mark.parametrize("key", [f"{SECRET}\n", f" {SECRET}", f"{SECRET} {SECRET}", "schlüssel", "cyc\x00"])
    def test_a_key_that_no_header_can_have_is_refused_and_not_shown(self, make: Make, key: str) -> None:
        with pytest.raises(InvalidParameterError, match="printable ASCII") as caught:
            make(config=connection(api_key=key))
        assert key.strip() not in str(caught.value)

    @both
    def test_a_login_in_an_address_that_is_none_is_not_shown(self, make: Make) -> None:
        with pytest.raises(InvalidParameterError, match="base_url") as caught:
            make(config=connection(base_url="ftp://user:hunter2@cycles.example.com"))
        assert "hunter2" not in str(caught.value)

    @both
    @pytest.mark.parametrize("parameter", ["connect_timeout", "read_timeout"])
    @pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "5", None, True])
    def test_a_request_gets_some_time(self, make: Make, parameter: str, value: Any) -> None:
        with pytest.raises(InvalidParameterError, match=f"{parameter}=.* a number of seconds above 0"):
            make(config=connection(**{parameter: value}))

    @both
    @pytest.mark.parametrize(
        "parameter", ["retry_initial_delay", "retry_multiplier", "retry_max_delay", "retry_flush_timeout"]
    )
    @pytest.mark.parametrize("value", [-1, math.nan, "5", None])
    def test_the_pace_of_retries_is_made_of_numbers(self, make: Make, parameter: str, value: Any) -> None:
        with pytest.raises(InvalidParameterError, match=f"{parameter}=.* a number, 0 or more"):
            make(config=connection(**{parameter: value}))

    @both
    @pytest.mark.parametrize("parameter", ["client", "config"])
    @pytest.mark.parametrize(
        "value",
        [connection(), {"base_url": ADDRESS, "api_key": SECRET}, SECRET, CyclesClient(connection())],
        ids=["a config", "a dict", "a key", "a blocking client"],
    )
    def test_something_else_for_the_connection_is_refused_without_showing_a_key(
        self, make: Make, parameter: str, value: object
    ) -> None:
        if parameter == "config" and isinstance(value, CyclesConfig):
            return
        with pytest.raises(InvalidParameterTypeError) as caught:
            make(**{parameter: value})
        shown = "".join(traceback.format_exception(caught.value))
        assert caught.value.parameter == parameter
        assert type(value).__name__ in str(caught.value)
        assert SECRET not in shown


class TestSources:
    async def subject_of(self, server: LocalCycles, made: CyclesRunHooks) -> Any:
        async with made:
            await Runner.run(agent(PricedModel(DONE), name=""), "hello", hooks=made)
        return server.requests[0].body["subject"]

    async def test_the_subject_of_the_config_counts(self, server: LocalCycles) -> None:
        config = server.config(workspace="w", app="a", workflow="f", agent="g")
        assert await self.subject_of(server, CyclesRunHooks(config=config)) == {
            "tenant": "acme",
            "workspace": "w",
            "app": "a",
            "workflow": "f",
            "agent": "g",
        }

    async def test_parameters_stand_before_the_config(self, server: LocalCycles) -> None:
        config = server.config(workspace="w", app="a", agent="g")
        made = CyclesRunHooks(config=config, workspace="other", workflow="f2")
        assert await self.subject_of(server, made) == {
            "tenant": "acme",
            "workspace": "other",
            "app": "a",
            "workflow": "f2",
            "agent": "g",
        }

    async def test_the_environment_is_the_last_source(
        self, server: LocalCycles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {**server.environ(), "CYCLES_WORKSPACE": "w"}.items():
            monkeypatch.setenv(name, value)
        subject = await self.subject_of(server, CyclesRunHooks(app="a"))
        assert subject == {"tenant": "acme", "workspace": "w", "app": "a"}

    async def test_a_client_brings_its_config(self, server: LocalCycles) -> None:
        async with AsyncCyclesClient(server.config(workspace="w")) as client:
            subject = await self.subject_of(server, CyclesRunHooks(client, config=connection(workspace="never")))
        assert subject == {"tenant": "acme", "workspace": "w"}

    async def test_the_guardrail_has_the_same_sources(self, server: LocalCycles) -> None:
        guard = cycles_budget_guardrail(config=server.config(workspace="w", app="a"), app="other")
        await Runner.run(agent(PricedModel(DONE), input_guardrails=[guard]), "hello")
        assert server.requests[0].body["subject"] == {
            "tenant": "acme",
            "workspace": "w",
            "app": "other",
            "agent": "desk",
        }


class TestSecrecy:
    def test_hooks_show_their_settings_without_the_key(self) -> None:
        made = hooks(workflow="support", tool_risk={"shell": 5})
        for shown in (repr(made), str(made), f"{made}", repr(made.bind(app="desk"))):
            assert SECRET not in shown
            assert "tenant='acme', " in shown
            assert ADDRESS in shown
            assert "fail_open=True" in shown

    def test_a_password_in_the_address_is_not_shown(self) -> None:
        made = hooks(config=connection(base_url="https://user:hunter2@cycles.example.com"))
        assert "hunter2" not in repr(made)
        assert "cycles.example.com" in repr(made)

    async def test_the_traceback_of_a_denial_does_not_show_the_key(
        self, make_hooks: MakeHooks, server: LocalCycles
    ) -> None:
        server.set_budget("tenant:acme", "RISK_POINTS", allocated=0)
        tool = CountingTool()
        with pytest.raises(Exception, match="BUDGET_EXCEEDED") as caught:
            await Runner.run(agent(PricedModel(calling("lookup")), tool), "hello", hooks=make_hooks())
        assert server.api_key not in "".join(traceback.format_exception(caught.value))
        assert tool.calls == 0


class TestPlainHttp:
    @both
    def test_a_key_that_leaves_the_machine_in_plain_text_is_warned_of_once(
        self, make: Make, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
    ) -> None:
        host = f"cycles-{abs(hash(request.node.name))}.example.com"
        for _ in range(2):
            make(config=connection(base_url=f"http://{host}:7878"))
        (said,) = [message for message in caplog.messages if host in message]
        assert "https" in said

    @both
    @pytest.mark.parametrize(
        "address",
        ["https://cycles.example.com", "http://localhost:7878", "http://127.0.0.2:7878", "http://[::1]:7878"],
    )
    def test_what_is_encrypted_or_stays_on_the_machine_is_not(
        self, make: Make, address: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        make(config=connection(base_url=address))
        assert caplog.messages == []
