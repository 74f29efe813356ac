"""``python -m dashboards.generate``."""

import sys

from dashboards.generate.boards import main

if __name__ == "__main__":
    sys.exit(main())
