"""Calls of the tools that the provider hosts, read from a model's answer."""

from __future__ import annotations

from typing import Any

import pytest
from agents.testing import assistant_message, function_call

from cycles_otel.pricing.hosted import HostedCall, hosted_calls, with_fee
from tests.pricing.answers import code_interpreter, file_search, image_generation, mcp_call, web_search


class TestReading:
    @pytest.mark.parametrize(
        ("item", "call"),
        [
            (web_search(), HostedCall("web_search", "web_search")),
            (file_search(), HostedCall("file_search", "file_search")),
            (code_interpreter(), HostedCall("code_interpreter", "code_interpreter")),
            (image_generation(), HostedCall("image_generation", "image_generation")),
            (mcp_call("search_docs"), HostedCall("hosted_mcp", "search_docs")),
        ],
        ids=str,
    )
    def test_each_is_known_by_the_sdks_name_for_the_tool(self, item: Any, call: HostedCall) -> None:
        assert hosted_calls([item]) == (call,)
        assert hosted_calls([item.model_dump()]) == (call,)

    def test_one_that_failed_was_called_all_the_same(self) -> None:
        assert len(hosted_calls([file_search("failed")])) == 1

    @pytest.mark.parametrize(
        "item",
        [
            assistant_message("hello"),
            function_call("look_up", {}, call_id="c1"),
            {"type": "reasoning"},
            {"type": ["x"]},
            {},
            None,
            7,
        ],
        ids=str,
    )
    def test_whatever_else_a_model_answers_is_none(self, item: Any) -> None:
        assert hosted_calls([item]) == ()


class TestFees:
    @pytest.mark.parametrize(("action", "fees"), [("search", 1), ("open_page", 0), ("find_in_page", 0)])
    def test_a_search_has_one_and_reading_what_it_found_has_none(self, action: str, fees: int) -> None:
        assert with_fee(hosted_calls([web_search(action)])).get("web_search", 0) == fees

    def test_a_search_of_an_older_version_has_one(self) -> None:
        assert with_fee(hosted_calls([{"type": "web_search_call", "id": "ws"}])) == {"web_search": 1}

    def test_they_are_counted_by_tool(self) -> None:
        calls = hosted_calls([web_search(), web_search(), web_search("open_page"), mcp_call("a"), mcp_call("b")])
        assert with_fee(calls) == {"web_search": 2, "hosted_mcp": 2}
