"""Checks of what the caller gave, with errors that name the parameter, the value and what is accepted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeVar

from runcycles import AsyncCyclesClient, CyclesConfig

from cycles_otel.addresses import is_http_address
from cycles_otel.api_key import is_key
from cycles_otel.budget.subject import FIELDS, is_subject_value
from cycles_otel.errors import InvalidParameterError, InvalidParameterTypeError

MAX_AMOUNT = 2**63 - 1
MIN_TTL_MS, MAX_TTL_MS = 1_000, 86_400_000
_TIMEOUTS = ("connect_timeout", "read_timeout")
_PAUSES = ("retry_initial_delay", "retry_multiplier", "retry_max_delay", "retry_flush_timeout")

E = TypeVar("E", bound=Enum)


def whole_number(parameter: str, value: object, *, minimum: int = 0, maximum: int = MAX_AMOUNT) -> int:
    """``value`` if it is an int within the bounds; a bool or a float is not."""
    accepted = f"a whole number from {minimum} to {maximum}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidParameterTypeError(parameter, value, accepted)
    if not minimum <= value <= maximum:
        raise InvalidParameterError(parameter, value, accepted)
    return value


def seconds(parameter: str, value: object) -> float:
    """``value`` if it is a number of seconds, 0 or more."""
    accepted = "a number of seconds, 0 or more"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidParameterTypeError(parameter, value, accepted)
    if not value >= 0:
        raise InvalidParameterError(parameter, value, accepted)
    return float(value)


def flag(parameter: str, value: object) -> bool:
    """``value`` if it is a bool."""
    if not isinstance(value, bool):
        raise InvalidParameterTypeError(parameter, value, "True or False")
    return value


def member(parameter: str, value: object, enum: type[E]) -> E:
    """The member of ``enum`` that ``value`` is, or whose value it is."""
    accepted = "one of " + ", ".join(str(each.value) for each in enum)
    if isinstance(value, enum):
        return value
    if not isinstance(value, str):
        raise InvalidParameterTypeError(parameter, value, accepted)
    try:
        return enum(value)
    except ValueError:
        raise InvalidParameterError(parameter, value, accepted) from None


def choice(parameter: str, value: object, *accepted: str) -> Any:
    """``value`` if it is one of the accepted words."""
    if value not in accepted:
        raise InvalidParameterError(parameter, value, "one of " + ", ".join(accepted))
    return value


def text(parameter: str, value: object) -> str:
    """``value`` if it is a str with something in it."""
    if not isinstance(value, str):
        raise InvalidParameterTypeError(parameter, value, "a str that is not empty")
    if not value:
        raise InvalidParameterError(parameter, value, "a str that is not empty")
    return value


def subject_levels(config: CyclesConfig, **given: object) -> dict[str, str]:
    """The levels that are given, and for those that are not the config's.

    The tenant must be as the server has it; any other level may be a free name.
    """
    levels: dict[str, str] = {}
    for name in FIELDS:
        value = given.get(name)
        if value is None:
            value = getattr(config, name)
        if value is not None:
            levels[name] = text(name, value)
    if "tenant" in levels and not is_subject_value(levels["tenant"]):
        raise InvalidParameterError(
            "tenant", levels["tenant"], "the tenant's id as the server has it, 1 to 128 of a-z A-Z 0-9 _ . -"
        )
    return levels


def known_levels(parameter: str, levels: object) -> Mapping[str, object]:
    """``levels`` if it is a mapping in which every name is a level of the subject."""
    accepted = "one of " + ", ".join(FIELDS)
    if not isinstance(levels, Mapping):
        raise InvalidParameterTypeError(parameter, levels, "a mapping of levels, each " + accepted)
    for name in levels:
        if name not in FIELDS:
            raise InvalidParameterError(parameter, name, accepted)
    return levels


def connection_config(client: object, config: object) -> CyclesConfig:
    """The config of the client if one is given, else the one given, else that of the ``CYCLES_*`` environment.

    Raises ``ValueError`` that names the environment variable which is missing.
    """
    if client is not None:
        if not isinstance(client, AsyncCyclesClient):
            # Here and below: what was given may hold a key, so its type is shown and not its value.
            raise InvalidParameterTypeError("client", type(client), "a runcycles.AsyncCyclesClient")
        return _checked(client._config)
    if config is not None and not isinstance(config, CyclesConfig):
        raise InvalidParameterTypeError("config", type(config), "a runcycles.CyclesConfig")
    return _checked(config or CyclesConfig.from_env())


def _checked(config: CyclesConfig) -> CyclesConfig:
    if not is_http_address(config.base_url):
        shown = type(config.base_url) if "@" in str(config.base_url) else config.base_url
        raise InvalidParameterError("base_url", shown, "an address such as http://localhost:7878")
    if not is_key(config.api_key):
        accepted = "the key of a tenant, a str of printable ASCII without spaces or line breaks"
        raise InvalidParameterError("api_key", type(config.api_key), accepted)
    for name in _TIMEOUTS:
        _check_number(name, getattr(config, name), "a number of seconds above 0", lambda value: 0 < value < math.inf)
    for name in _PAUSES:
        _check_number(name, getattr(config, name), "a number, 0 or more", lambda value: value >= 0)
    return config


def _check_number(parameter: str, value: object, accepted: str, is_accepted: Callable[[float], bool]) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidParameterTypeError(parameter, value, accepted)
    if not is_accepted(value):
        raise InvalidParameterError(parameter, value, accepted)
