"""Extension of griffe, which reads the docstrings of the API pages."""

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Reads docstrings as they are meant.

    A section called ``Example:`` is what griffe knows as ``Examples:``, so that doctests become code blocks. A shape in
    two brackets, such as ``[E][O]``, is no link of Markdown.
    """

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Mend the docstring of every object that is loaded."""
        if obj.docstring:
            text = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r"(?<=\[)([A-Z]+)\]\[(?=[A-Z]+\])", r"\1]\\[", text)
