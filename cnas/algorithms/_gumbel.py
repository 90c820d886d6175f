"""Hard samples that pass gradients on: the Gumbel-softmax with a straight-through estimator.

With ``g = -log Exp(1)`` per pair and ``p = softmax((log softmax(α) + g) / τ)`` over every mixture, the sample is the
one-hot vector of the largest p, and the gradient is that of p (Dong and Yang 2019, section 3).

Legend: E edges, O operations, G mixtures, M pairs of the largest mixture.
"""

from __future__ import annotations

import torch

from cnas.algorithms._alphas import Alphas
from cnas.random import HOST
from cnas.types import Routing


def hard_sample(alphas: Alphas, temperature: float, generator: torch.Generator) -> Routing:
    """One pair of every mixture, drawn from its softmax; float64 weights [1, E, O] in α's graph where there is one.

    The weights are exactly 1 at the drawn pairs and 0 elsewhere. Those that were not drawn carry a gradient too: a
    supernet adds them as zero-valued scalars (`cnas.types.Routing`).

    Args:
        alphas: the logits and their mixtures.
        temperature: τ, above 0; the sample does not depend on it, its gradient does.
        generator: the noise is drawn from it, in host memory.
    """
    log_probs_GM = alphas.gathered().log_softmax(dim=1)
    waits_GM = torch.empty(log_probs_GM.shape, dtype=log_probs_GM.dtype, device=HOST).exponential_(generator=generator)
    # A wait of 0, which a draw can be rounded to, would be infinite noise.
    noise_GM = -waits_GM.clamp(min=torch.finfo(waits_GM.dtype).tiny).log()
    scores_GM = log_probs_GM + noise_GM
    probs_GM = (scores_GM / temperature).softmax(dim=1)
    picks_G = scores_GM.argmax(dim=1)
    hot_GM = torch.zeros_like(probs_GM).scatter_(1, picks_G[:, None], 1.0)
    # In this order the first difference is exactly zero, and the sum exactly one-hot.
    weights_EO = alphas.spread((probs_GM - probs_GM.detach()) + hot_GM, 0.0)
    active = tuple(group[pick] for group, pick in zip(alphas.groups, picks_G.tolist(), strict=True))
    return Routing(weights_EO[None], (active,), unit=not weights_EO.requires_grad)
