"""Curriculum-DARTS on word-level text: search a recurrent cell on reweighted data, train it, leave a model.

python recipes/ptb_cl_darts.py                                       # first order, preset cpu, embedded pydoc corpus
python recipes/ptb_cl_darts.py --search.unrolled                     # second order (DARTS-V2)
accelerate launch recipes/ptb_cl_darts.py --preset paper --data ptb_text_only
python recipes/ptb_cl_darts.py --preset smoke --no-curriculum        # plain DARTS
python recipes/ptb_cl_darts.py --resume                              # go on where it stopped

The presets are the files of cnas/presets/ptb_cl_darts; `cnas search --preset ptb_cl_darts/cpu` is the same.
"""

import sys

from cnas.cli.launch import main

RECIPE = "ptb_cl_darts"

if __name__ == "__main__":
    sys.exit(main(RECIPE))
