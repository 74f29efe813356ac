"""Budgets in front of every step of an agent run, with OpenTelemetry spans and Prometheus metrics for each decision."""
