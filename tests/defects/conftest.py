from tests.run.conftest import desk, server

__all__ = ["desk", "server"]
