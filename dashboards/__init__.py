"""Dashboards, recording rules, alerts and runbooks, with the Python that generates them."""
