"""Use what was installed from wheel or sdist, away from the repository: every public name, and what an extra adds."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import cycles_otel


def main() -> None:
    """Fail where it is not what the README says."""
    root = Path(__file__).resolve().parents[1]
    assert root not in Path(cycles_otel.__file__).resolve().parents[:2], "the repository was imported"
    for name in cycles_otel.__all__:
        getattr(cycles_otel, name)
    assert (Path(cycles_otel.__file__).parent / "py.typed").exists()
    command = Path(sys.executable).with_name("cycles-otel")
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    assert cycles_otel.__version__ in version, version
    demo = subprocess.run([command, "demo"], capture_output=True, text=True, check=False)
    assert demo.returncode == 2, demo
    assert "cycles-otel[cli]" in demo.stderr, demo.stderr
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([command, "dashboards", "export", folder], stdout=subprocess.DEVNULL, check=True)
        exported = {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*.*")}
    shipped = root / "dashboards"
    paths = [path for pattern in ("*.json", "rules/*.yaml", "runbooks/*.md") for path in shipped.glob(pattern)]
    assert exported == {path.relative_to(shipped): path.read_bytes() for path in paths}, exported.keys()
    print(f"cycles-otel {cycles_otel.__version__} works in a clean environment.")


if __name__ == "__main__":
    main()
