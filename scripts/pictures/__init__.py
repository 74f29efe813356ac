"""Draws the dashboards with the data of a real Prometheus, for the documentation: ``make pictures``."""
