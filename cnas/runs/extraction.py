"""Writes networks with the weights that a search has left for them, without training them anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cnas.durable import storage_errors
from cnas.errors import UserError
from cnas.hub.card import Card, render_card
from cnas.hub.model_folder import save_model
from cnas.hub.model_kind import kind_of
from cnas.runs.conclude import result_of
from cnas.runs.pipeline import finished_search, parameters, valid_figures
from cnas.runs.task import Task
from cnas.runs.text import TextTask
from cnas.training.context import RunContext


def extract(
    task: Task, looking: Callable[[], RunContext], home: Path, text: str, output_dir: Path | str | None = None
) -> Path:
    """Write the network of an architecture with its part of the supernet's weights: a model folder with a card.

    Args:
        task: the run's data and configuration.
        looking: gives a context in which nothing is written.
        home: the run folder, whose newest checkpoint of the search has the weights.
        text: the architecture, in the notation of the space.
        output_dir: a folder that is not there yet; None is one of the architecture's name below ``extracted``.

    Returns:
        The model folder.

    Raises:
        UserError: it is no architecture of the space, networks of the space cannot take these weights, the run has no
            checkpoint of a search, or the folder is there already.
        StorageError: the disk refuses.
    """
    space = task.config.space
    architecture = space.parse(text)
    folder = Path(output_dir or home / "extracted" / str(architecture).replace(" ", "-"))
    if not space.inherits or not isinstance(task, TextTask):
        raise UserError(f"the networks of space {space.name} cannot take the weights of its supernet")
    if folder.exists():
        raise UserError(f"output_dir {folder} is there already, and nothing is overwritten; name a new folder")
    context = looking()
    loop = finished_search(task, context)
    network = space.inherited(loop.parts.supernet, architecture).to(context.device)
    figures = {"parameters": parameters(network), **valid_figures(task, network)}
    place = loop.progress
    result = result_of(task, architecture, {"epochs": place.epoch, "steps": place.step}, figures)
    card = Card(result=result, model_name=folder.name, drawing="", kind=kind_of(result), folder=folder.name)
    with storage_errors(f"the model to {folder}"):
        # The folder gets its name when it is whole.
        stage = save_model(network, task.data.vocabulary.source, folder.with_name(f".{folder.name}.partial"))
        (stage / "README.md").write_text(render_card(card, "inherited_card.md.jinja"), "utf-8")
        stage.rename(folder)
    return folder
