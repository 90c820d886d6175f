"""Curriculum-ENAS on word-level text: search a recurrent cell on reweighted data, train it, leave a model.

python recipes/ptb_cl_enas.py                                        # preset cpu on the embedded pydoc corpus
accelerate launch recipes/ptb_cl_enas.py --preset paper --data ptb_text_only
python recipes/ptb_cl_enas.py --preset smoke --no-curriculum         # plain ENAS
python recipes/ptb_cl_enas.py --resume                               # go on where it stopped

The presets are the files of cnas/presets/ptb_cl_enas; `cnas search --preset ptb_cl_enas/cpu` is the same.
"""

import sys

from cnas.cli.launch import main

RECIPE = "ptb_cl_enas"

if __name__ == "__main__":
    sys.exit(main(RECIPE))
