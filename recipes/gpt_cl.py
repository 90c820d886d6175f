"""Curriculum search of a small transformer: sizes of a decoder on reweighted text, a Llama that every tool loads.

python recipes/gpt_cl.py                                             # preset cpu on the embedded pydoc corpus
accelerate launch recipes/gpt_cl.py --preset small --data ptb_text_only
python recipes/gpt_cl.py --preset smoke --no-curriculum              # without a curriculum
python recipes/gpt_cl.py --resume                                    # go on where it stopped

The presets are the files of cnas/presets/gpt_cl; `cnas search --preset gpt_cl/cpu` is the same.
"""

import sys

from cnas.cli.launch import main

RECIPE = "gpt_cl"

if __name__ == "__main__":
    sys.exit(main(RECIPE))
