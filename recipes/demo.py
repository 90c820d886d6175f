"""The smallest whole example: search a cell with and without the curriculum, train both, compare them.

python recipes/demo.py          # what `make demo` runs; a few minutes on two cores, no network

The runs are those of ``cnas search --preset ptb_cl_enas/smoke --data pydoc``. They stay in ``runs/demo-curriculum`` and
``runs/demo-plain``; a second call finds them finished, one that was interrupted goes on.
"""

import sys

from cnas.sweeps.demo import main

if __name__ == "__main__":
    sys.exit(main(argv=sys.argv[1:]))
