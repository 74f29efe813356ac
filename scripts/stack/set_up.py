"""Sets up what `make test-stack` runs against: a real Prometheus with promtool, a real OpenTelemetry
Collector, and kustomize with the custom resources of the Prometheus operator.

They are built by Go, once, into a folder outside of the clone that is named after everything that goes into them;
a later call finds them there. The folder's path is printed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROMETHEUS = "v0.316.0"
COLLECTOR_BUILDER = "v0.155.0"
KUSTOMIZE = "v5.4.3"
PROMETHEUS_OPERATOR = "v0.85.0"
MANIFEST = Path(__file__).with_name("builder.yaml")
# Nobody debugs these programs, and without the data for that they are built in less time.
FLAGS = ("-trimpath", "-ldflags=-s -w", "-gcflags=all=-dwarf=false")
PROMETHEUS_TAGS = "-tags=netgo,remove_all_sd"
COLLECTOR_TAGS = "-tags=remove_all_sd,grpcnotrace"
NO_GO = "make stack needs Go 1.26 or newer, to build Prometheus and the collector: install it from https://go.dev/dl"
_PLACE = "building-"

Build = Callable[[Path], None]


class BuildError(Exception):
    """A part could not be built; the text says why."""


def folder() -> Path:
    """Where the programs are, or will be."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    ingredients = [PROMETHEUS, COLLECTOR_BUILDER, *FLAGS, PROMETHEUS_TAGS, COLLECTOR_TAGS, MANIFEST.read_text()]
    ingredients += [platform.system(), platform.machine()]
    name = hashlib.sha256("\n".join(ingredients).encode()).hexdigest()[:16]
    return Path(cache, "cycles-otel", "stack", name)


def set_up(programs: Path) -> None:
    """Build what is missing; a call that runs beside this one waits, and finds everything done.

    Raises
    ------
    BuildError: where Go is missing, or cannot build a part.
    """
    if _is_complete(programs):
        return
    _go_command()
    programs.mkdir(parents=True, exist_ok=True)
    with _alone(programs):
        for left in programs.glob(f"{_PLACE}*"):
            shutil.rmtree(left)
        for names, build in PARTS.items():
            if not all((programs / name).exists() for name in names):
                _build(programs, names, build)


def _is_complete(programs: Path) -> bool:
    return all((programs / name).exists() for names in PARTS for name in names)


@contextlib.contextmanager
def _alone(programs: Path) -> Iterator[None]:
    # The lock goes with the process, however that ends.
    with (programs / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(programs: Path, names: tuple[str, ...], build: Build) -> None:
    print(f"Building {' and '.join(names)} (once, some minutes)…", file=sys.stderr, flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=programs, prefix=_PLACE) as place:
        build(Path(place))
        for name in names:
            # A rename is seen whole or not at all: nobody ever starts half of a program.
            Path(place, name).rename(programs / name)
    print(f"  done in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def _prometheus(place: Path) -> None:
    packages = [f"github.com/prometheus/prometheus/cmd/{name}@{PROMETHEUS}" for name in ("prometheus", "promtool")]
    _go(place, "install", PROMETHEUS_TAGS, *FLAGS, *packages)


def _collector(place: Path) -> None:
    builder = f"go.opentelemetry.io/collector/cmd/builder@{COLLECTOR_BUILDER}"
    # The builder ends with `go mod tidy`, which asks for modules that only the tests of the components need, and
    # that a proxy may not have. Whether its sources are good is for the build to say.
    try:
        _go(place, "run", builder, "--config", str(MANIFEST), "--skip-compilation")
    except BuildError:
        if not (place / "source" / "go.mod").exists():
            raise
    _go(place / "source", "build", "-mod=mod", COLLECTOR_TAGS, *FLAGS, "-o", str(place / "otelcol"), ".")


def _kustomize(place: Path) -> None:
    _go(place, "install", *FLAGS, f"sigs.k8s.io/kustomize/kustomize/v5@{KUSTOMIZE}")
    (place / "kustomize").rename(place / KUSTOMIZE_PROGRAM)


def _custom_resources(place: Path) -> None:
    module = f"github.com/prometheus-operator/prometheus-operator@{PROMETHEUS_OPERATOR}"
    said = _go(place, "mod", "download", "-json", module)
    downloaded = json.loads(said[said.index("{") :])
    # Go's own copy is read-only, folder and all, and a folder that is moved must not be.
    (place / CUSTOM_RESOURCES).mkdir()
    for definition in Path(downloaded["Dir"], "example", "prometheus-operator-crd").glob("*.yaml"):
        (place / CUSTOM_RESOURCES / definition.name).write_bytes(definition.read_bytes())


# Their versions are in their names: another version of one of them builds no other part anew.
KUSTOMIZE_PROGRAM = f"kustomize-{KUSTOMIZE}"
CUSTOM_RESOURCES = f"prometheus-operator-{PROMETHEUS_OPERATOR}"
PARTS: dict[tuple[str, ...], Build] = {
    ("prometheus", "promtool"): _prometheus,
    ("otelcol",): _collector,
    (KUSTOMIZE_PROGRAM,): _kustomize,
    (CUSTOM_RESOURCES,): _custom_resources,
}


def _go(place: Path, *arguments: str) -> str:
    environment = {"GOPROXY": _proxy(), "CGO_ENABLED": "0", "GOBIN": str(place), "GOWORK": "off"}
    done = subprocess.run(
        [_go_command(), *arguments],
        cwd=place,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-15:])
        raise BuildError(f"go {' '.join(arguments)} failed:\n{last}")
    return done.stdout


def _go_command() -> str:
    go = shutil.which("go")
    if go is None:
        raise BuildError(NO_GO)
    return go


def _proxy() -> str:
    """The user's own proxies, without a fall-back to the origins: a module that they lack is an error, not a wait."""
    asked = subprocess.run([_go_command(), "env", "GOPROXY"], stdout=subprocess.PIPE, text=True, check=True)
    proxies = asked.stdout.strip()
    return proxies.removesuffix("direct").rstrip(",|") or proxies


if __name__ == "__main__":
    try:
        set_up(folder())
    except BuildError as error:
        sys.exit(str(error))
    print(folder())
