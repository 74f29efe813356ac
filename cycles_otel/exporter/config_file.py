"""The YAML file of an exporter with several targets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cycles_otel.budget.subject import FIELDS
from cycles_otel.exporter.keys import ApiKey, ApiKeyFile, Key, concealed
from cycles_otel.exporter.pace import PACE_FIELDS, Pace
from cycles_otel.exporter.targets import Target, checked_address, checked_level
from cycles_otel.telemetry.errors import TelemetrySetupError

_KEYS = ("api_key", "api_key_env", "api_key_file")
_TOP = ("targets", "base_url", *PACE_FIELDS)
_TARGET = ("name", "base_url", *_KEYS, *FIELDS, *PACE_FIELDS)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_targets(path: Path, pace: Pace) -> list[Target]:
    """The targets of a file; what it says of their pace counts more than ``pace``.

    The file is a mapping with ``targets``, a list; ``base_url`` and the fields of ``Pace`` may stand beside it, for
    all targets, or in a target. A target has a ``tenant`` and one of ``api_key_env``, ``api_key_file``, ``api_key``;
    a ``name`` (by default the tenant) and further levels of the subject are optional.

    Raises
    ------
    TelemetrySetupError: the file cannot be read, or says something that is not accepted.
    """
    contents = _mapping(str(path), _contents(path), _TOP)
    listed = contents.get("targets")
    if not isinstance(listed, list) or not listed:
        raise TelemetrySetupError("targets", listed and type(listed), "a list of targets, one at least")
    shared = contents.get("base_url", os.environ.get("CYCLES_BASE_URL"))
    pace = _paced(pace, contents, "")
    targets = [_target(f"targets[{index}]", given, shared, pace) for index, given in enumerate(listed)]
    _check_names(targets)
    _check_tenants(targets)
    return targets


def _contents(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TelemetrySetupError("--config", str(path), f"a file that can be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise TelemetrySetupError("--config", str(path), "a YAML file in UTF-8") from None
    except yaml.YAMLError as error:
        # Only where it is wrong: the text around it may hold a key.
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1}: {getattr(error, 'problem', '')})" if mark is not None else ""
        raise TelemetrySetupError("--config", str(path), f"a YAML file{place}") from None


def _target(where: str, value: object, shared: object, pace: Pace) -> Target:
    given = _mapping(where, value, _TARGET)
    if "tenant" not in given:
        raise TelemetrySetupError(f"{where}.tenant", None, "the tenant of the key")
    levels = {level: checked_level(f"{where}.{level}", given[level]) for level in FIELDS if level in given}
    name = given.get("name", levels["tenant"])
    if not isinstance(name, str) or not name:
        raise TelemetrySetupError(f"{where}.name", name, "a text that is not empty")
    base_url = checked_address(f"{where}.base_url", given.get("base_url", shared))
    return Target(name, base_url, _key(where, given), levels, _paced(pace, given, f"{where}."))


def _key(where: str, given: Mapping[str, Any]) -> Key:
    named = [source for source in _KEYS if source in given]
    if len(named) != 1:
        raise TelemetrySetupError(f"{where}", named, "exactly one of " + ", ".join(_KEYS))
    (source,) = named
    parameter, value = f"{where}.{source}", given[source]
    if source == "api_key":
        return ApiKey(parameter, value)
    if not isinstance(value, str) or not value:
        raise TelemetrySetupError(parameter, type(value), "the name of a variable, or of a file, that has the key")
    if source == "api_key_file":
        return ApiKeyFile(parameter, value)
    if not os.environ.get(value):
        shown = concealed(value) if _VARIABLE.fullmatch(value) else type(value)
        raise TelemetrySetupError(parameter, shown, "a variable of the environment that has the key")
    return ApiKey(parameter, os.environ[value].strip())


def _paced(pace: Pace, given: Mapping[str, Any], where: str) -> Pace:
    changes = {name: given[name] for name in PACE_FIELDS if name in given}
    return pace.with_changes(changes, lambda name: where + name)


def _mapping(where: str, value: object, accepted: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TelemetrySetupError(where, type(value), "a mapping of " + ", ".join(accepted))
    for name in value:
        if name not in accepted:
            # Its value is not shown: it may be a key under a misspelled name.
            raise TelemetrySetupError(where, name, "the names " + ", ".join(accepted))
    return value


def _check_names(targets: list[Target]) -> None:
    names = [target.name for target in targets]
    for index, name in enumerate(names):
        if name in names[:index]:
            accepted = "a name that no other target has (by default it is the tenant)"
            raise TelemetrySetupError(f"targets[{index}].name", name, accepted)


def _check_tenants(targets: list[Target]) -> None:
    """Series of budgets say the tenant and not the server: two servers' would be mixed up."""
    servers: dict[str, str] = {}
    for index, target in enumerate(targets):
        server = servers.setdefault(target.levels["tenant"], target.base_url.rstrip("/"))
        if server != target.base_url.rstrip("/"):
            accepted = f"{server}, as with the other target of this tenant; a second server needs a second exporter"
            raise TelemetrySetupError(f"targets[{index}].base_url", target.base_url, accepted)
