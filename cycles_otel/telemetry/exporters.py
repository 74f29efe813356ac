"""What ``OTEL_*`` ask for by name (exporters, a sampler, a generator of ids), made by the SDK's own entry points."""

from __future__ import annotations

import logging
import os
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal

from cycles_otel.telemetry.errors import TelemetrySetupError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Sampler

logger = logging.getLogger("cycles_otel")

Signal = Literal["traces", "metrics"]

_PREFIX = "OTEL_EXPORTER_OTLP"
_OTLP = "otlp"
_OTLP_BY_PROTOCOL = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_PROTOCOLS = ", ".join(_OTLP_BY_PROTOCOL)
_WITH_GRPC = 'http/protobuf, and grpc after pip install "cycles-otel[grpc]"'
_SAMPLERS = "opentelemetry_traces_sampler"
_ID_GENERATORS = "opentelemetry_id_generator"
_SDKS_OWN_SAMPLERS = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)


def names_asked_for(signal: Signal) -> list[str] | None:
    """The exporters that ``OTEL_TRACES_EXPORTER`` or ``OTEL_METRICS_EXPORTER`` names; None where it is not set."""
    value = _setting(_exporter_variable(signal))
    if value is None:
        return None
    return [name for name in (each.strip() for each in value.split(",")) if name and name.lower() != "none"]


def has_endpoint(signal: Signal) -> bool:
    """Whether the environment says where a signal is sent to by OTLP."""
    return first_setting(signal, "ENDPOINT") is not None


def make_exporter(signal: Signal, name: str = _OTLP, endpoint: str | None = None) -> Any:
    """An exporter, or a metric reader, which reads the rest of its settings from the environment itself.

    ``endpoint`` is the base address of an OTLP receiver.

    Raises
    ------
    TelemetrySetupError: for a name that nothing installed goes by, or a setting that the exporter refuses.
    """
    variable, value = _exporter_variable(signal), name
    options = {}
    if name == _OTLP:
        variable, value = first_setting(signal, "PROTOCOL") or (f"{_PREFIX}_PROTOCOL", "http/protobuf")
        if value not in _OTLP_BY_PROTOCOL:
            raise TelemetrySetupError(variable, value, _PROTOCOLS)
        name = _OTLP_BY_PROTOCOL[value]
        if endpoint is not None:
            options["endpoint"] = endpoint if value == "grpc" else f"{endpoint}/v1/{signal}"
    factory = _component(f"opentelemetry_{signal}_exporter", name)
    if factory is None:
        raise TelemetrySetupError(variable, value, _WITH_GRPC if "grpc" in name else "the name of an exporter")
    try:
        return factory(**options)
    except Exception as error:
        raise TelemetrySetupError(variable, value, f"an exporter whose settings are valid ({error})") from error


def sampler() -> Sampler | None:
    """The sampler of ``OTEL_TRACES_SAMPLER`` where that is none of the SDK's own, which the SDK looks up by itself."""
    from opentelemetry.sdk.trace.sampling import Sampler

    name = _setting("OTEL_TRACES_SAMPLER")
    if name is None or name.lower() in _SDKS_OWN_SAMPLERS:
        return None
    made = _made(_SAMPLERS, name, _setting("OTEL_TRACES_SAMPLER_ARG"))
    return made if isinstance(made, Sampler) else None


def id_generator() -> IdGenerator | None:
    """The generator of ids that ``OTEL_PYTHON_ID_GENERATOR`` names; None where it is not set."""
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    name = _setting("OTEL_PYTHON_ID_GENERATOR")
    made = None if name is None else _made(_ID_GENERATORS, name)
    return made if isinstance(made, IdGenerator) else None


def _made(group: str, name: str, *arguments: object) -> object:
    """A part of the tracing by its name: the SDK's default does where it cannot be made, as the SDK has it."""
    factory = _component(group, name)
    try:
        return None if factory is None else factory(*arguments)
    except Exception:
        logger.warning("%s %r cannot be made: the default is used", group, name, exc_info=True)
        return None


def _component(group: str, name: str) -> Any:
    for found in entry_points(group=group, name=name):
        try:
            return found.load()
        except ImportError:
            logger.warning("%s %r cannot be imported", group, name, exc_info=True)
    return None


def nothing_of(signal: Signal) -> Any:
    """What an exporter of a signal may be given to see whether it works: an export of nothing."""
    from opentelemetry.sdk.metrics.export import MetricsData

    return [] if signal == "traces" else MetricsData([])


def _exporter_variable(signal: Signal) -> str:
    return f"OTEL_{signal.upper()}_EXPORTER"


def first_setting(signal: Signal, what: str) -> tuple[str, str] | None:
    """The variable that decides, the signal's own before the common one, and its value."""
    for variable in (f"{_PREFIX}_{signal.upper()}_{what}", f"{_PREFIX}_{what}"):
        if (value := _setting(variable)) is not None:
            return variable, value
    return None


def _setting(variable: str) -> str | None:
    """The value of a variable; one that is empty counts as not set, as the specification has it."""
    return os.environ.get(variable, "").strip() or None
