"""What a run leaves: a model `transformers` can load, its tokenizer, its card, and pictures of how it was found."""

from cnas.export.artifacts import export_run, summary
from cnas.export.auto import register
from cnas.export.card import render_card
from cnas.export.cell import draw_cell
from cnas.export.figures import draw_figures
from cnas.export.model import generate_lines, save_model
from cnas.export.tokenizer import build_tokenizer

__all__ = [
    "build_tokenizer",
    "draw_cell",
    "draw_figures",
    "export_run",
    "generate_lines",
    "register",
    "render_card",
    "save_model",
    "summary",
]
