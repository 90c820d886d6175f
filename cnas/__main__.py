"""``python -m cnas`` is the `cnas` command."""

import sys

from cnas.cli import main

if __name__ == "__main__":
    sys.exit(main())
