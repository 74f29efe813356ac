"""The tables of parameters say what the code says: the same names, and the defaults as they are."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest

from cycles_otel import CyclesRunHooks, setup_telemetry
from cycles_otel.degradation.policies import Raise
from tests.docs.blocks import text_of


def table(page: str, heading: str) -> dict[str, tuple[str, ...]]:
    """The cells of each parameter's row in the first table after a heading; a row may name several."""
    rest = text_of(page).partition(heading)[2]
    found = re.search(r"(?:^\|.*\n)+", rest, re.MULTILINE)
    assert found, f"{page} has no table after {heading!r}"
    cells = [tuple(row.strip("| ").split(" | ")) for row in found[0].splitlines()[2:]]
    return {name: each[1:] for each in cells for name in re.findall(r"`(\w+)`", each[0])}


def defaults_of(function: Callable[..., Any]) -> dict[str, Any]:
    return {name: each.default for name, each in inspect.signature(function).parameters.items()}


def written(default: object) -> str:
    """A default as the tables write it."""
    if isinstance(default, Enum):
        return f"`{default.value}`"
    if isinstance(default, str):
        return f'`"{default}"`'
    return f"`{default:_}`" if isinstance(default, int) and default > 10_000 else f"`{default!r}`"


HOOKS = table("docs/configuration.md", "## `CyclesRunHooks`")
SET_UP = table("docs/operation.md", "setup_telemetry(")


def test_every_parameter_of_the_hooks_is_in_the_table_in_its_order() -> None:
    assert list(HOOKS) == list(defaults_of(CyclesRunHooks))


def test_every_parameter_of_the_set_up_is_in_the_table() -> None:
    assert set(SET_UP) == set(defaults_of(setup_telemetry))


@pytest.mark.parametrize("name", HOOKS)
def test_a_default_of_the_hooks_is_the_one_of_the_code(name: str) -> None:
    default, says = defaults_of(CyclesRunHooks)[name], HOOKS[name][1]
    if default is None:
        assert says in ("\N{EN DASH}", "`{}`", "the config's", "the process's", "the `CYCLES_*` environment")
    elif isinstance(default, Raise):
        assert says == "`Raise()`"
    else:
        assert says == written(default)
