"""The ENAS recurrent cell (Pham et al. 2018) in the form of google-research ``enas_lm``."""

from cnas.spaces.enas_rnn.space import EnasRnnSpace

__all__ = ["EnasRnnSpace"]
