"""Public prices: the data that comes with ``genai-prices``. Nothing is fetched.

``calc_price`` looks a model up and works everything out anew for each call. Here a model's rates are worked out once,
by ``genai-prices`` itself, and multiplied from then on. They hold for one tier of the input's length and for one of a
model's prices over time; each has its own.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from fractions import Fraction
from importlib import metadata
from typing import Any

from genai_prices import Usage, data_snapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

from cycles_otel.pricing.identity import ModelIdentity
from cycles_otel.pricing.rates import MICROCENTS_PER_USD, Rates
from cycles_otel.pricing.usage import TokenUsage

PACKAGE = "genai-prices"
_MOST_MODELS = 1_000
_ONE_TOKEN = {
    "input": {"input_tokens": 1},
    "cached": {"input_tokens": 1, "cache_read_tokens": 1},
    "cache_write": {"input_tokens": 1, "cache_write_tokens": 1},
    "input_audio": {"input_tokens": 1, "input_audio_tokens": 1},
    "cached_audio": {"input_tokens": 1, "cache_read_tokens": 1, "input_audio_tokens": 1, "cache_audio_read_tokens": 1},
    "output": {"output_tokens": 1},
    "reasoning": {"output_tokens": 1, "output_reasoning_tokens": 1},
    "output_audio": {"output_tokens": 1, "output_audio_tokens": 1},
}
"""One token of each kind, as ``genai-prices`` counts it."""
_ONE_CALL = {"web_search": "web_searches", "file_search": "storage_searches"}
"""What ``genai-prices`` calls the hosted tools whose calls it may have a price for."""
_PRICE_OF_DIRECTION = {"input": "input_mtok", "output": "output_mtok"}


class PriceData:
    """The prices that are known to the public, with what was worked out of them kept."""

    def __init__(self) -> None:
        self._snapshot: data_snapshot.DataSnapshot | None = None
        self._models: dict[ModelIdentity, PricedModel | None] = {}
        self._version = ""
        self._current()

    @property
    def version(self) -> str:
        """The version of the data: its package's, and its date where the program has updated it since."""
        self._current()
        return self._version

    def provider(self, identity: ModelIdentity) -> str | None:
        """The id of the provider that is asked for a model, where that is known."""
        found = self.model(identity)
        if found is not None:
            return found.provider
        return identity.provider or _provider_at(self._current(), identity.api_url)

    def model(self, identity: ModelIdentity) -> PricedModel | None:
        """The model's prices; None where the data does not know it."""
        snapshot = self._current()
        try:
            return self._models[identity]
        except KeyError:
            found = _find(snapshot, identity)
        if len(self._models) >= _MOST_MODELS:
            self._models.clear()
        self._models[identity] = found
        return found

    def _current(self) -> data_snapshot.DataSnapshot:
        """The data in use; a program may replace it (``genai_prices.UpdatePrices``), and then nothing kept holds."""
        snapshot = data_snapshot.get_snapshot()
        if snapshot is not self._snapshot:
            self._models, self._version, self._snapshot = {}, _version_of(snapshot), snapshot
        return snapshot


class PricedModel:
    """One model of one provider."""

    def __init__(self, provider: str, model: ModelInfo) -> None:
        self.provider = provider
        self._model = model
        self._rates: dict[tuple[int, int], Rates] = {}
        self._starts: dict[int, list[int]] = {}

    def cost(self, usage: TokenUsage) -> Fraction | None:
        """What these tokens cost, in microcents; None where no price is known for a kind of them."""
        if not usage.parts:
            return self.rates(usage.input_tokens).cost(usage)
        costs = [self.rates(part.input_tokens).cost(part) for part in usage.parts]
        return None if None in costs else sum((cost for cost in costs if cost is not None), Fraction(0))

    def rates(self, input_tokens: int) -> Rates:
        """The rates that hold now for a request with so many tokens of input."""
        price = self._price_now()
        # The data lives as long as this object does, so the id of a price stays its own.
        key = id(price)
        if key not in self._starts:
            self._starts[key] = _tier_starts(price)
        tier = bisect.bisect_left(self._starts[key], input_tokens)
        rates = self._rates.get((key, tier))
        if rates is None:
            rates = self._rates[key, tier] = _rates_of(price, input_tokens)
        return rates

    def _price_now(self) -> ModelPrice:
        if isinstance(self._model.prices, ModelPrice):
            return self._model.prices
        return self._model.get_prices(datetime.now(timezone.utc))


def _version_of(snapshot: data_snapshot.DataSnapshot) -> str:
    version = metadata.version(PACKAGE)
    return f"{version}+{snapshot.timestamp:%Y-%m-%d}" if snapshot.from_auto_update else version


def _find(snapshot: data_snapshot.DataSnapshot, identity: ModelIdentity) -> PricedModel | None:
    for provider, name in _references(snapshot, identity):
        try:
            found, model = snapshot.find_provider_model(name, None, provider, None)
        except LookupError:
            continue
        return PricedModel(found.id, model)
    return None


def _references(snapshot: data_snapshot.DataSnapshot, identity: ModelIdentity) -> Iterator[tuple[str | None, str]]:
    """Where to look. A provider that is certain is the only one: another's price would be wrong in silence."""
    provider = identity.provider or _provider_at(snapshot, identity.api_url)
    if provider is None:
        return identity.routes()
    return ((provider, name) for name in identity.names())


def _provider_at(snapshot: data_snapshot.DataSnapshot, api_url: str | None) -> str | None:
    """The id of the provider at an address; None for a gateway, or a server of the program's own."""
    if not api_url:
        return None
    try:
        return snapshot.find_provider(None, None, api_url).id
    except LookupError:
        return None


def _tier_starts(price: ModelPrice) -> list[int]:
    tiers = (value.tiers for value in vars(price).values() if isinstance(value, TieredPrices))
    return sorted({tier.start for tier in itertools.chain.from_iterable(tiers)})


def _rates_of(price: ModelPrice, input_tokens: int) -> Rates:
    """What one token of each kind costs, by asking for the price of it."""
    flat = {key: _in_tier(value, input_tokens) for key, value in vars(price).items() if value is not None}
    one_tier = ModelPrice(**flat)
    request = _microcents(one_tier)
    tokens = {
        kind: _microcents(one_tier, **counts) - request
        for kind, counts in _ONE_TOKEN.items()
        # What the data has no price for would cost nothing: it is left out, and so is unknown.
        if all(_PRICE_OF_DIRECTION[name] in flat for name in _PRICE_OF_DIRECTION if f"{name}_tokens" in counts)
    }
    tools = {
        tool: _microcents(one_tier, **{name: 1}) - request
        for tool, name in _ONE_CALL.items()
        if f"{name}_kcount" in flat
    }
    return Rates.of(tokens, request, tools)


def _in_tier(value: Decimal | TieredPrices, input_tokens: int) -> Decimal:
    if not isinstance(value, TieredPrices):
        return value
    passed = [tier.price for tier in value.tiers if input_tokens > tier.start]
    return passed[-1] if passed else value.base


def _microcents(price: ModelPrice, **counts: Any) -> Fraction:
    return Fraction(price.calc_price(Usage(**counts))["total_price"]) * MICROCENTS_PER_USD
