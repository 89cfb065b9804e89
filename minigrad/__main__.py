"""`python -m minigrad` is the command line, as `minigrad` is."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
