"""``cycles-otel journal``: what is known to be spent and not settled yet."""
