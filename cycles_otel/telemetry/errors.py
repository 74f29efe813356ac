"""What setting up telemetry can raise. Recording never raises."""

from __future__ import annotations


class TelemetrySetupError(ValueError):
    """A parameter of the telemetry's set-up cannot be used: names it, its value, and what is accepted."""

    def __init__(self, parameter: str, value: object, accepted: str) -> None:
        super().__init__(f"{parameter}={value!r} cannot be used; accepted: {accepted}")
        self.parameter = parameter
        self.value = value
