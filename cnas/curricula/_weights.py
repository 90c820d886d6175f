"""From uncertainty to sample weights: v = N·σ/‖σ‖₁ (Zhou et al. 2022, Eq. 11).

Legend: U units (N of them).
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnas.errors import NonFiniteError
from cnas.random import HOST


def normalized_weights(sigma_U: Tensor) -> Tensor:
    """Weights proportional to σ with mean 1.

    Args:
        sigma_U: non-negative scores [U], any floating dtype.

    Returns:
        v_U: float32 (float64 for float64 scores), v ≥ 0, Σv = U. All σ equal, or all zero, gives exactly 1: the paper
        states this limit, the formula alone is 0/0.

    Raises:
        NonFiniteError: where a score is NaN, infinite or negative.

    Example:
        >>> normalized_weights(torch.tensor([1.0, 3.0]))
        tensor([0.5000, 1.5000])
    """
    if not bool((torch.isfinite(sigma_U) & (sigma_U >= 0)).all()):
        raise NonFiniteError("uncertainty must be finite and at least 0 for every unit")
    dtype = torch.promote_types(sigma_U.dtype, torch.float32)
    if len(sigma_U) == 0 or bool(sigma_U.min() == sigma_U.max()):
        return torch.ones_like(sigma_U, dtype=dtype)
    # Dividing by the largest first keeps the result the same whatever the scale, subnormal numbers included.
    exact_U = sigma_U.to(HOST).double()
    scaled_U = exact_U / exact_U.max()
    return (scaled_U * (len(scaled_U) / scaled_U.sum())).to(dtype).to(sigma_U.device)
