"""What stands in ``deploy/``, read as YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
_ADDRESS = re.compile(r"(?:^|//)([a-z][a-z0-9-]*)(\.[a-z.]+)?:(\d+)(?:/|$)")


def read(path: Path) -> Any:
    """The one document of a file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def manifests(kind: str | None = None) -> list[dict[str, Any]]:
    """The manifests of the base, of one kind or of all."""
    files = [path for path in sorted(BASE.glob("*.yaml")) if path.name != "kustomization.yaml"]
    everything = [each for path in files for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    return [each for each in everything if kind in (None, each["kind"])]


def texts(value: Any) -> Iterator[str]:
    """Every text in a document, however deep."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def addresses(value: Any) -> set[tuple[str, int]]:
    """Host and port of each address of a neighbour: a name without a dot that is not this host itself."""
    found = (_ADDRESS.search(text) for text in texts(value))
    return {(each[1], int(each[3])) for each in found if each and not each[2] and each[1] != "localhost"}


def variables_of_collector(*names: str) -> set[str]:
    """What files of ``collector-config/`` take from the environment."""
    contents = [(REPOSITORY / "collector-config" / name).read_text(encoding="utf-8") for name in names]
    return {name for text in contents for name in re.findall(r"\$\{env:(\w+)", text)}


def versions_of_stack() -> dict[str, str]:
    """The versions of the programs that ``make test-stack`` runs, by their constant."""
    text = (REPOSITORY / "scripts" / "stack" / "set_up.py").read_text(encoding="utf-8")
    return dict(re.findall(r'^([A-Z_]+) = "v([\d.]+)"$', text, re.MULTILINE))
