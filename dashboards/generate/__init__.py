"""Writes the files beside it from the one table of telemetry: no series is named twice."""
