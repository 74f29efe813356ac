"""``cycles-otel demo``: a support desk of agents under budgets, on an embedded server, with scripted models.

A newcomer reads ``command`` (the course of the demo), then ``tenants`` and ``cases`` (who pays, who asks), ``desk``
(the agents and tools), ``workload`` (serving the customers), and whatever figure is of interest.
"""
