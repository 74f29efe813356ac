"""Models that obey: what hooks cannot change about an LLM call, a governed model does.

A governed model calls another model where a step was downgraded, keeps to the cap on ``max_tokens``, and tells which
model it called, so that the right one is priced. Outside of a governed run it is the model that it wraps.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import fields, replace
from typing import Any, cast

from agents import Agent, Model, ModelProvider, ModelResponse, ModelSettings, MultiProvider
from agents.items import TResponseStreamEvent
from agents.models import get_default_model_settings

from cycles_otel.degradation.order import ModelOrder
from cycles_otel.degradation.proxy import Proxy
from cycles_otel.errors import InvalidParameterTypeError
from cycles_otel.pricing.identity import ModelIdentity
from cycles_otel.run import RunScope, current_scope, served_by


class GovernedModel(Proxy):
    """The model that it wraps, but for what the step's policy and caps say. Made by ``governed_model``.

    Parameters
    ----------
    provider: looks up the models of a downgrade by their names.
    """

    def __init__(self, model: Model, provider: ModelProvider | None = None) -> None:
        super().__init__(model)
        self._self_provider = provider
        self._self_fallbacks: dict[str, Model] = {}

    async def get_response(
        self, system_instructions: Any, input: Any, model_settings: ModelSettings, *rest: Any, **named: Any
    ) -> ModelResponse:
        """See ``Model``."""
        model, settings = self._self_obey(model_settings)
        return await model.get_response(system_instructions, input, settings, *rest, **named)

    def stream_response(
        self, system_instructions: Any, input: Any, model_settings: ModelSettings, *rest: Any, **named: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        """See ``Model``."""
        model, settings = self._self_obey(model_settings)
        return model.stream_response(system_instructions, input, settings, *rest, **named)

    def get_retry_advice(self, request: Any) -> Any:
        """The advice of the model that made the request."""
        return self._self_called(_current_order()).get_retry_advice(request)

    async def close(self) -> None:
        """Close the model, and those that were called instead of it."""
        for model in (self.__wrapped__, *self._self_fallbacks.values()):
            await model.close()

    async def _cleanup_on_run_end(self, owner: object) -> None:
        for model in (self.__wrapped__, *self._self_fallbacks.values()):
            await model._cleanup_on_run_end(owner)

    def _self_obey(self, settings: ModelSettings) -> tuple[Model, ModelSettings]:
        """The model to call, and the settings to call it with; the caller's settings are not changed."""
        order = _current_order()
        model = self._self_called(order)
        if order is None:
            return model, settings
        if _has_a_name(model):
            served_by(ModelIdentity.of_model(model))
        if order.downgrade is not None:
            settings = _exchange_defaults(settings, order.asked, order.downgrade.model_name)
            settings = settings.resolve(order.downgrade.settings)
        return model, _capped(settings, order.max_tokens)

    def _self_called(self, order: ModelOrder | None) -> Model:
        if order is None or order.downgrade is None:
            return cast(Model, self.__wrapped__)
        instead = order.downgrade.model
        return _bare(instead if isinstance(instead, Model) else self._self_fallback(instead))

    def _self_fallback(self, name: str) -> Model:
        if name not in self._self_fallbacks:
            if self._self_provider is None:
                self._self_provider = MultiProvider()
            self._self_fallbacks[name] = self._self_provider.get_model(name)
        return self._self_fallbacks[name]


class CyclesModelProvider(ModelProvider):
    """A model provider whose models carry out what hooks alone cannot: a downgrade, and the cap ``max_tokens``.

    Give it to a run: ``RunConfig(model_provider=CyclesModelProvider())``. Agents whose model is a ``Model`` object
    do not ask a provider: wrap that object with ``governed_model``.

    Parameters
    ----------
    provider: the provider that makes the models, by default the SDK's own ``MultiProvider()``.
    """

    def __init__(self, provider: ModelProvider | None = None) -> None:
        if provider is not None and not isinstance(provider, ModelProvider):
            raise InvalidParameterTypeError("provider", provider, "an agents.ModelProvider")
        self._provider = provider or MultiProvider()

    def get_model(self, model_name: str | None) -> Model:
        """The provider's model of this name, governed."""
        return governed_model(self._provider.get_model(model_name), self._provider)

    async def aclose(self) -> None:
        """Close the provider."""
        await self._provider.aclose()

    def __getattr__(self, name: str) -> Any:
        # The SDK, and whoever prices a model, reads of a provider which client and which address it has.
        if name == "_provider":
            raise AttributeError(name)
        return getattr(self._provider, name)


def governed_model(model: Model, provider: ModelProvider | None = None) -> Model:
    """The same model, governed: for agents and run configs whose model is an object.

    Parameters
    ----------
    provider: looks up the models of a downgrade by their names, by default the SDK's own ``MultiProvider()``.
    """
    if not isinstance(model, Model):
        raise InvalidParameterTypeError("model", model, "an agents.Model; names are for CyclesModelProvider")
    if isinstance(model, GovernedModel):
        return model
    return cast(Model, GovernedModel(model, provider))


def missing_for_downgrade(scope: RunScope, bracketed: bool, agent: Agent[Any]) -> str | None:
    """What keeps the model that the SDK is about to call from being another one, in words; None if nothing does."""
    if not bracketed:
        return "cannot be carried out outside of a run of Runner.run, run_sync or run_streamed"
    asked = agent.model if scope.config.model is None else scope.config.model
    if isinstance(asked, Model):
        if isinstance(asked, GovernedModel):
            return None
        return f"needs a model that can be exchanged: wrap the one of {agent.name!r}, as in model=governed_model(model)"
    if _makes_governed_models(scope.config.model_provider, asked):
        return None
    return (
        f"needs models that can be exchanged: give the run of {agent.name!r} "
        "run_config=RunConfig(model_provider=CyclesModelProvider())"
    )


def _makes_governed_models(provider: object, asked: object) -> bool:
    """A provider of the program's own may make governed models for some names; the SDK asks it the same way."""
    if isinstance(provider, CyclesModelProvider):
        return True
    if not isinstance(provider, ModelProvider) or not (asked is None or isinstance(asked, str)):
        return False
    return isinstance(provider.get_model(asked), GovernedModel)


def _current_order() -> ModelOrder | None:
    scope = current_scope()
    return None if scope is None else scope.model_order


def _bare(model: Model) -> Model:
    return cast(Model, model.__wrapped__) if isinstance(model, GovernedModel) else model


def _has_a_name(model: Model) -> bool:
    """Whether a model says what it is; the name of its class says less than the name that was asked for."""
    name = getattr(model, "model", None)
    return isinstance(name, str) and bool(name)


def _exchange_defaults(settings: ModelSettings, asked: str, instead: str) -> ModelSettings:
    """What the SDK sets by itself for the one model becomes what it sets for the other."""
    before, after = get_default_model_settings(asked), get_default_model_settings(instead)
    defaulted = {field.name: getattr(before, field.name) for field in fields(before)}
    return replace(
        settings,
        **{
            name: getattr(after, name)
            for name, value in defaulted.items()
            if value is not None and getattr(settings, name) == value
        },
    )


def _capped(settings: ModelSettings, max_tokens: int | None) -> ModelSettings:
    if max_tokens is None or (settings.max_tokens is not None and settings.max_tokens <= max_tokens):
        return settings
    return replace(settings, max_tokens=max_tokens)
