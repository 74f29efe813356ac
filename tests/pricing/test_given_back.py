"""An LLM call that was given back while its model was at work: what it used is charged all the same."""

from __future__ import annotations

from typing import Any

from agents import Runner

from cycles_otel.local import LocalCycles
from tests.hooks.conftest import MakeHooks
from tests.hooks.desk import COST, PricedModel, agent
from tests.pricing.answers import DONE, web_search


async def test_its_tokens_and_hosted_tools_are_charged_once(server: LocalCycles, make_hooks: MakeHooks) -> None:
    model = PricedModel([web_search(), DONE])
    hooks = make_hooks(llm_estimate="priced")
    answer = model.get_response

    async def give_back_first(*args: Any, **kwargs: Any) -> Any:
        await hooks.release_pending()
        return await answer(*args, **kwargs)

    vars(model)["get_response"] = give_back_first
    await Runner.run(agent(model), "hello", hooks=hooks)
    assert server.ledger().charged() == COST + 1_000_000
    assert server.ledger().charged("RISK_POINTS") == 1
    assert server.ledger().active == ()
