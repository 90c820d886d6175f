"""Images of the Hub: CIFAR with its published statistics, and any data set in the Hub's schema."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cnas.data._hub import HUB_ID, as_table, load_tables
from cnas.data._image_source import ImageSource
from cnas.data._image_table import image_rows, source
from cnas.data._splits import SPLITS, split_names
from cnas.data.image_set import ChannelStatistics
from cnas.errors import UserError


@dataclass(frozen=True)
class Published:
    """Where a data set is, and the mean and deviation of its channels, of 255, that NATS-Bench normalises with."""

    hub_id: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def statistics(self) -> ChannelStatistics:
        """The same, of 1."""
        return ChannelStatistics(tuple(x / 255 for x in self.mean), tuple(x / 255 for x in self.std))


PUBLISHED = {
    "cifar10": Published("uoft-cs/cifar10", (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
    "cifar100": Published("uoft-cs/cifar100", (129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
}
"""By their short names; `datasets` finds them under longer ones."""


def read_hub(data: str) -> ImageSource:
    """The images of a Hub data set.

    Raises:
        UserError: no such name, the Hub is out of reach, or a split cannot be used.
    """
    published = PUBLISHED.get(data) or next((each for each in PUBLISHED.values() if each.hub_id == data), None)
    hub_id = published.hub_id if published else data
    if not HUB_ID.fullmatch(hub_id):
        allowed = f"digits, {', '.join(PUBLISHED)}, an existing folder or a Hub id (owner/name)"
        raise UserError(f"data must be {allowed}, got {data!r}")
    tables = load_tables(hub_id, data, "Parquet files or images (train, test)")
    names = split_names(tables, f"data {data}")
    for split in ("train", "test"):
        if names[split] is None:
            raise UserError(f"data {data} has no {split} split: looked for {SPLITS[split]}, found {sorted(tables)}")
    there = {split: as_table(tables[name]) for split, name in names.items() if name}
    found = source(data, {split: image_rows(table, f"data {data}: {split}") for split, table in there.items()})
    return replace(found, statistics=published.statistics()) if published else found
