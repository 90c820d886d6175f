"""``python -m cnas`` is the `cnas` command."""

import sys

from cnas.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
