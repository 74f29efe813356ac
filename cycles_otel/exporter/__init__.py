"""``cycles-otel exporter``: polls the balances of budgets that nobody touches just now, and shows them as metrics."""
