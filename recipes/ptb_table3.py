"""Table 3 of the paper: ENAS, DARTS-V1 and DARTS-V2, each plain and with the curriculum, beside random cells.

python recipes/ptb_table3.py                                     # preset cpu, one seed, on the embedded pydoc corpus
python recipes/ptb_table3.py --data ptb_text_only --jobs 2       # two runs at a time
python recipes/ptb_table3.py --data ptb_text_only --seeds 1 2 3  # mean ± std; finished runs are kept

Every run has its folder below --output-dir. The same command goes on where it was stopped, and ends with the table.
The same runs on a cluster: cnas sweep recipes/grids/ptb_table3.yaml --executor slurm
"""

import sys

from cnas.sweeps.ptb_table3 import PRESETS as PRESETS
from cnas.sweeps.ptb_table3 import TABLE

if __name__ == "__main__":
    sys.exit(TABLE.main(description=__doc__ or ""))
