"""The recurrent cell of DARTS (Liu et al. 2019): one matrix per node for all its sources and activations."""

from cnas.spaces.darts_rnn.space import DartsRnnSpace

__all__ = ["DartsRnnSpace"]
