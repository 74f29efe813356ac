"""What a model says it used, read from its answer."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest
from agents import Usage
from hypothesis import given, settings
from hypothesis import strategies as st

from cycles_otel.pricing import TokenUsage
from tests.hooks.desk import usage
from tests.pricing.answers import answer

COUNTS = [each.name for each in fields(TokenUsage) if each.name not in ("requests", "parts")]


class TestReading:
    def test_each_kind_of_token_is_read(self) -> None:
        used = usage(1_000, 100, cached=400, reasoning=30)
        used.input_tokens_details.cache_write_tokens = 50
        assert TokenUsage.of(answer(used)) == TokenUsage(
            1_000, 100, cached_tokens=400, cache_write_tokens=50, reasoning_tokens=30
        )

    @pytest.mark.parametrize(("inputs", "outputs"), [("input", "output"), ("prompt", "completion")])
    def test_audio_is_read_from_the_providers_own_words(self, inputs: str, outputs: str) -> None:
        response = answer(usage(1_000, 100))
        response.raw_usage = {
            f"{inputs}_tokens_details": {"audio_tokens": 300},
            f"{outputs}_tokens_details": {"audio_tokens": 20},
        }
        read = TokenUsage.of(response)
        assert (read.input_audio_tokens, read.output_audio_tokens) == (300, 20)

    def test_what_is_missing_or_negative_counts_as_none(self) -> None:
        broken = Usage()
        vars(broken).update(
            input_tokens=None, output_tokens=-5, input_tokens_details=None, output_tokens_details=object()
        )
        read = TokenUsage.of(answer(broken))
        assert read == TokenUsage()
        assert not read.is_known

    def test_the_requests_of_a_call_that_was_retried_are_kept_apart(self) -> None:
        both = Usage()
        both.add(usage(1_000, 10))
        both.add(usage(2_000, 20, cached=500))
        read = TokenUsage.of(answer(both))
        assert (read.requests, read.input_tokens) == (2, 3_000)
        assert read.parts == (TokenUsage(1_000, 10), TokenUsage(2_000, 20, cached_tokens=500))

    def test_requests_that_are_not_all_of_the_call_are_not_believed(self) -> None:
        both = Usage()
        both.add(usage(1_000, 10))
        both.add(usage(2_000, 20))
        both.input_tokens += 500
        assert TokenUsage.of(answer(both)).parts == ()

    def test_an_answer_of_another_version_of_the_sdk_is_read_too(self) -> None:
        used = SimpleNamespace(input_tokens=5, output_tokens=1)
        response: Any = SimpleNamespace(output=[], usage=used)
        read = TokenUsage.of(response)
        assert read == TokenUsage(5, 1)


class TestKinds:
    @settings(deadline=None)
    @given(st.fixed_dictionaries({name: st.integers(0, 1_000) for name in COUNTS}))
    def test_each_token_is_of_exactly_one_kind(self, counts: dict[str, Any]) -> None:
        kinds = TokenUsage(**counts).by_kind()
        if kinds is not None:
            assert min(kinds.values()) >= 0
            inputs = ("input", "cached", "cache_write", "input_audio", "cached_audio")
            assert sum(kinds[name] for name in inputs) == counts["input_tokens"]
            assert sum(count for name, count in kinds.items() if name not in inputs) == counts["output_tokens"]

    @pytest.mark.parametrize(
        "impossible",
        [
            TokenUsage(10, 0, cached_tokens=11),
            TokenUsage(10, 0, cache_write_tokens=11),
            TokenUsage(10, 0, cached_tokens=6, cache_write_tokens=6),
            TokenUsage(0, 10, output_audio_tokens=11),
        ],
        ids=str,
    )
    def test_more_of_a_kind_than_there_is_cannot_be(self, impossible: TokenUsage) -> None:
        assert impossible.by_kind() is None

    def test_as_little_audio_is_taken_from_the_cache_as_the_sums_allow(self) -> None:
        kinds = TokenUsage(100, 0, cached_tokens=60, input_audio_tokens=70).by_kind() or {}
        assert (kinds["input"], kinds["cached"], kinds["input_audio"], kinds["cached_audio"]) == (0, 30, 40, 30)

    def test_reasoning_beyond_the_output_is_not_counted_twice(self) -> None:
        kinds = TokenUsage(0, 10, reasoning_tokens=50).by_kind() or {}
        assert (kinds["output"], kinds["reasoning"]) == (0, 10)
