"""The dashboards, rules and runbooks as the package ships them: ``cycles-otel dashboards export | push``."""
