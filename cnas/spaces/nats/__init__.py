"""The topology space of NATS-Bench (Dong et al. 2021): 4 nodes, 6 edges, 5 operations, 15,625 image classifiers."""

from cnas.spaces.nats.space import NatsNetworkSizes, NatsSpace

__all__ = ["NatsNetworkSizes", "NatsSpace"]
