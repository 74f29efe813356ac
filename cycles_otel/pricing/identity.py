"""Which model a call asks for, and from whom: the SDK does not tell its hooks, so it is read from what they are given.

The provider matters, since the same model has another price elsewhere. It is known from the client of a ``Model``
object (its class and address), from the address that the run's model provider has, or from the prefixes of a name
(``litellm/anthropic/…``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agents.models import get_default_model
from openai import AsyncAzureOpenAI, AzureOpenAI

_ROUTERS = ("litellm", "any-llm")
_ROUTING_CLASSES = ("LitellmModel", "AnyLLMModel")
_AZURE = "azure"


@dataclass(frozen=True)
class ModelIdentity:
    """A model and where it is.

    Parameters
    ----------
    name: as it was asked for, prefixes and all.
    provider: the id of the provider in the price data, where that is certain.
    api_url: the address that is asked, where it is known.
    """

    name: str
    provider: str | None = None
    api_url: str | None = None

    @classmethod
    def asked_for(cls, override: object, agent: Any, model_provider: object = None) -> ModelIdentity:
        """The model of the run's config, else the agent's, else the SDK's default.

        Parameters
        ----------
        override: the model of the run's config.
        model_provider: the model provider of the run's config, which finds models by their names.
        """
        asked = override if override is not None else agent.model
        if asked is not None and not isinstance(asked, str):
            return cls.of_model(asked)
        name = get_default_model() if asked is None else asked
        if name.split("/", 1)[0] in _ROUTERS:
            return cls(name)
        return cls(name, *_place_of_provider(model_provider))

    @classmethod
    def of_model(cls, model: object) -> ModelIdentity:
        """What a ``Model`` object is: by its attribute ``model`` or, without one, by its class."""
        name = getattr(model, "model", None)
        # The class that an object shows: a wrapped model is known as what it wraps.
        kind = model.__class__.__name__
        name = name if isinstance(name, str) and name else kind
        if kind in _ROUTING_CLASSES and "/" in name:
            return cls(name)
        client = getattr(model, "_client", None)
        return cls(name, *_place_of_client(client if client is not None else model))

    def routes(self) -> Iterator[tuple[str | None, str]]:
        """Each way to read the name, as provider and model: by the prefixes that route it first."""
        segments = self.name.split("/")
        for number in range(1, len(segments)):
            yield segments[number - 1], "/".join(segments[number:])
        yield None, self.name
        if len(segments) > 1:
            yield None, segments[-1]

    def names(self) -> Iterator[str]:
        """The name, then what is left of it without one prefix after the other: what its own provider may call it."""
        segments = self.name.split("/")
        return ("/".join(segments[number:]) for number in range(len(segments)))


def _place_of_client(client: object) -> tuple[str | None, str | None]:
    """Provider and address of an ``openai`` client, or of whatever has a ``base_url``."""
    url = getattr(client, "base_url", None)
    address = str(url) if url else None
    return (_AZURE if isinstance(client, AsyncAzureOpenAI | AzureOpenAI) else None), address


def _place_of_provider(model_provider: object) -> tuple[str | None, str | None]:
    """Where the models are that a model provider finds by name; the SDK's default reads the environment."""
    openai = getattr(model_provider, "openai_provider", model_provider)
    client = getattr(openai, "_client", None) or _default_client()
    if client is not None:
        return _place_of_client(client)
    address = getattr(openai, "_stored_base_url", None) or os.environ.get("OPENAI_BASE_URL")
    return None, str(address) if address else None


def _default_client() -> object:
    """The client that the program gave to ``agents.set_default_openai_client``; the SDK has no public way to ask."""
    try:
        from agents.models import _openai_shared
    except ImportError:
        return None
    ask = getattr(_openai_shared, "get_default_openai_client", None)
    return ask() if callable(ask) else None
