"""`python -m shared.cli`: the same as `muster`, for where the script isn't installed."""

import sys

from shared.cli import main

if __name__ == "__main__":
    sys.exit(main())
