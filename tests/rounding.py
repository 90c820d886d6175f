"""How far apart two orders of the same arithmetic may be, from the sizes of a problem: it holds on any processor.

A textbook, another number of threads or processes, the vector units of another processor add in another order, and so
round elsewhere. n roundings of at most eps/2 each add up to more than λ √n eps/2 of what is added with a probability of
at most 2 exp(-λ²/2) (Higham and Mary, SIAM Journal on Scientific Computing 41, 2019, theorem 2.4), and two ways are
apart by the sum of both errors. What follows multiplies an error by its condition. A wrong equation is off by far more.
"""

import math

import torch

LAMBDA = 6.0
"""3e-8 of the sums of such a length would be further apart."""
NORM = 1 / math.sqrt(1e-5)
"""Condition of a norm over rows: the derivative of x / sqrt(variance + 1e-5) where the rows are equal."""


def apart(dtype: torch.dtype, roundings: int, condition: float = 1.0) -> float:
    """The bound, relative to the sizes of what is added."""
    return LAMBDA * math.sqrt(roundings) * torch.finfo(dtype).eps * condition


EXACT = apart(torch.float64, 2**20)
"""Sums, products and probabilities of anything in these tests: none adds a million numbers."""
NORMED = apart(torch.float64, 2**12, NORM)
"""A forward and backward pass of a small network with norms: per value, chains of a few hundred additions."""
TRAINED = apart(torch.float64, 60 * 400, NORM)
"""Weights after up to 60 steps of a small search that converges: 25 rows and positions, 30 words and 8 hidden units are
some 400 additions a step."""
TRAINED_COARSELY = apart(torch.float64, 60 * 400, NORM**2)
"""The same where one norm follows another at every step of a text, or a gradient is divided by the step of a finite
difference: on one process, a last bit changed in the weights moves such a search by up to 2e-9 in 24 steps."""
TRAINED_SINGLE = apart(torch.float32, 60 * 400)
"""A search in float32 whose policy is not learned, or without norms."""
SINGLE = apart(torch.float32, 2**12)
"""A pass in float32, where no norm sees equal rows."""


def within(bound: float) -> dict[str, float]:
    """For `torch.testing.assert_close`, whose values here are of size 1."""
    return {"rtol": bound, "atol": bound}
