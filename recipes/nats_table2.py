"""Table 2 of the paper: seven algorithms on NATS-Bench, each plain and with the curriculum, beside random cells.

python recipes/nats_table2.py --data cifar10 --table tss.parquet           # preset cpu, one seed
python recipes/nats_table2.py --data cifar10 --table tss.parquet --jobs 2  # two runs at a time
python recipes/nats_table2.py --data cifar10 --table tss.parquet --seeds 1 2 3  # mean ± std; finished runs are kept

The found cells are not trained but looked up, in the file that cnas table build makes. Every run has its folder below
--output-dir. The same command goes on where it was stopped, and ends with the table.
The same runs on a cluster: cnas sweep recipes/grids/nats_table2.yaml --executor slurm
"""

import sys

from cnas.sweeps.nats_table2 import PRESETS as PRESETS
from cnas.sweeps.nats_table2 import TABLE

if __name__ == "__main__":
    sys.exit(TABLE.main(description=__doc__ or ""))
