"""Test with each supported Python that this machine has, in an environment of its own; one that is missing is named.

python3 scripts/test_pythons.py                # what depends on the version of Python, with all of them
python3 scripts/test_pythons.py -k heartbeat   # anything else, by the arguments of pytest
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
ELSEWHERE = ("~/.pyenv/versions/{}.*/bin", "~/.local/share/uv/python/cpython-{}.*/bin")
SELECTION = ("run", "guide", "testing/test_spans.py", "testing/test_local_cycles.py", "telemetry/test_setup.py")
"""Event loops and threads, the SDK's hooks, exceptions, the plugin, the set-up: what a version of Python may change."""


def main(arguments: list[str]) -> int:
    """Run the tests with each Python but this one, which ``make test`` has; the first failure is the exit status."""
    others = [version for version in VERSIONS if version != "{}.{}".format(*sys.version_info)]
    found = {version: python for version in others if (python := interpreter(version)) is not None}
    missing = [version for version in others if version not in found]
    statuses = [tested(version, python, arguments) for version, python in found.items()]
    if missing:
        print(f"Not tested, since this machine does not have it: Python {', '.join(missing)}")
    return next((status for status in statuses if status), 0)


def interpreter(version: str) -> str | None:
    """A Python of this version that starts; what pyenv puts on the path may not."""
    return next((python for python in _candidates(version) if _is(python, version)), None)


def _candidates(version: str) -> Iterator[str]:
    name = f"python{version}"
    on_path = shutil.which(name)
    if on_path is not None:
        yield on_path
    for folder in ELSEWHERE:
        yield from sorted(glob.glob(os.path.expanduser(folder.format(version)) + f"/{name}"))


def _is(python: str, version: str) -> bool:
    code = "import sys, venv; print('{}.{}'.format(*sys.version_info))"
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return said.stdout.strip() == version


def tested(version: str, python: str, arguments: list[str]) -> int:
    """The exit status of pytest."""
    own = environment(version, python)
    chosen = arguments or [f"tests/{name}" for name in SELECTION]
    print(f"== Python {version}", flush=True)
    command = [str(own), "-m", "pytest", "-q", "-n", "auto", "-p", "no:cacheprovider", *chosen]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def environment(version: str, python: str) -> Path:
    """The Python of an environment with everything that the tests need, as new as what the project asks for."""
    folder = ROOT / f".venv-py{version.replace('.', '')}"
    own, ready = folder / "bin" / "python", folder / ".dev"
    if not ready.exists() or ready.stat().st_mtime < (ROOT / "pyproject.toml").stat().st_mtime:
        print(f"Setting up {folder.name} (once)…", flush=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        pip = [str(own), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--upgrade", "pip>=25.1"], check=True)
        groups = ["--group", "test", "--group", "dashboards"]
        subprocess.run([*pip, "--editable", ".[cli]", *groups], cwd=ROOT, check=True)
        ready.touch()
    return own


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
