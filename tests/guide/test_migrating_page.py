"""The blocks of docs/migrating.md run as they stand, one after the other."""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from runcycles import set_default_config

from cycles_otel import CyclesRunHooks, runcycles_openai_agents
from cycles_otel.local import LocalCycles
from tests.guide.conftest import Models

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "migrating.md").read_text(encoding="utf-8")


async def test_each_block_does_what_the_page_says(
    server: LocalCycles, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runcycles.decorator._default_client", None)
    set_default_config(server.config())
    server.fund("tenant:acme", 100_000_000)
    names: dict[str, Any] = {}
    switch, after, decorated, undecorated = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        await _run(switch, names)
    assert names["CyclesRunHooks"] is runcycles_openai_agents.CyclesRunHooks

    await _run(after, names)
    assert names["CyclesRunHooks"] is CyclesRunHooks
    assert names["result"].final_output == "done"

    models.answer([*names["result"].raw_responses[0].output])
    server.clear_requests()
    await _run(decorated, names)
    assert await names["resolve"]("My invoice is wrong.") == "done"
    assert [each.body.get("estimate") for each in server.requests if each.operation == "reserve"] == [
        {"unit": "USD_MICROCENTS", "amount": 5_000_000}
    ]

    models.answer([*names["result"].raw_responses[0].output])
    server.clear_requests()
    await _run(undecorated, names)
    assert await names["resolve"]("My invoice is wrong.") == "done"
    asked = [each.body["action"]["kind"] for each in server.requests if each.operation == "reserve"]
    assert asked == ["llm.completion"]
    await names["hooks"].aclose()


def test_every_name_of_the_module_stands_on_the_page() -> None:
    assert [name for name in runcycles_openai_agents.__all__ if name not in PAGE] == []


def test_every_note_names_what_the_page_names() -> None:
    source = inspect.getsource(runcycles_openai_agents.CyclesRunHooks)
    parameters = inspect.signature(runcycles_openai_agents.CyclesRunHooks.__init__).parameters
    new = inspect.signature(CyclesRunHooks.__init__).parameters
    only_old = set(parameters) - set(new) - {"more"}
    assert {name for name in only_old if f"{name}=" not in PAGE} == set()
    assert {name for name in only_old if name not in source} == set()


async def _run(block: str, names: dict[str, Any]) -> None:
    done = eval(compile(block, "migrating.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.isawaitable(done):
        await done
