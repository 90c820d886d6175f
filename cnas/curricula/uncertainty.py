"""Uncertainty: how hard K subnets find each unit (Zhou et al. 2022, Eq. 5-10).

If the K outputs for a unit are Gaussian around its label with one standard deviation σ, maximum likelihood sets
σ = sqrt(mean_k L_k). For cross-entropy the stationary point is sqrt(2/K · Σ L_k); the √2 cancels when the weights are
normalised (Eq. 11), so one formula serves both.

Legend: K candidates, U units.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cnas.errors import NonFiniteError
from cnas.random import HOST


def uncertainty(losses_KU: Tensor) -> Tensor:
    """The uncertainty σ of every unit, Eq. 10.

    Args:
        losses_KU: losses of K candidates on U units, non-negative, any floating dtype.

    Returns:
        sigma_U: sqrt of the mean over K; float32, or float64 for float64 losses.

    Raises:
        NonFiniteError: where a loss is NaN or infinite.

    Example:
        >>> uncertainty(torch.tensor([[1.0, 8.0], [7.0, 10.0]]))
        tensor([2., 3.])
    """
    if not bool(torch.isfinite(losses_KU).all()):
        raise NonFiniteError("a candidate's loss is NaN or infinite, so the curriculum cannot weigh the data")
    # float64 inside, in host memory since some accelerators have none: the mean of large float32 losses may not
    # overflow, nor tiny ones vanish.
    sigma_U = losses_KU.to(HOST).double().mean(dim=0).clamp_min(0).sqrt()
    return sigma_U.to(torch.promote_types(losses_KU.dtype, torch.float32)).to(losses_KU.device)


NAMES: dict[str, Callable[[Tensor], Tensor]] = {"uncertainty": uncertainty}
