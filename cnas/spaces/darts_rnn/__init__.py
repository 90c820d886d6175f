"""The recurrent cell of DARTS (Liu et al. 2019): one matrix per node, whatever it reads and through what."""

from cnas.spaces.darts_rnn.space import DartsRnnSpace

__all__ = ["DartsRnnSpace"]
