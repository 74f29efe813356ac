"""Print the lower bounds of the project's dependencies as pip constraints, to test with the lowest versions."""

from __future__ import annotations

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BOUND = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)>=(?P<version>[^,;\s]+)$")


def constraints(pyproject: Path) -> list[str]:
    """One ``name==version`` for each runtime dependency, those of the extras included."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    required = project["dependencies"] + [each for extra in project["optional-dependencies"].values() for each in extra]
    bounds = [BOUND.match(each) for each in required]
    return sorted(f"{bound['name']}=={bound['version']}" for bound in bounds if bound is not None)


if __name__ == "__main__":
    print("\n".join(constraints(Path(__file__).resolve().parents[1] / "pyproject.toml")))
