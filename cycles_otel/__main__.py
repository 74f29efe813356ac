"""``python -m cycles_otel``: the same as the command ``cycles-otel``."""

import sys

from cycles_otel.cli import main

if __name__ == "__main__":
    sys.exit(main())
