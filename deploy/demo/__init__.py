"""The workload of ``deploy/compose.yaml``: the demo's support desk, on a real Cycles server."""
