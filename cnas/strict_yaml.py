"""Reading a YAML file that somebody wrote: safely, and with every mistake in one line."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from cnas.errors import UserError

LARGEST = 256 << 10
"""Bytes of a file."""


def load(path: Path) -> Any:
    """What a YAML file holds, in dicts, lists and scalars.

    Args:
        path: of the file.

    Raises:
        UserError: it cannot be read or is not YAML; the caller puts the file's name before the message.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise UserError(f"it is larger than {LARGEST >> 10} KiB")
        return yaml.load(data.decode(), _Strict)
    except UserError:
        raise
    except OSError as problem:
        raise UserError(f"it cannot be read: {problem.strerror}") from problem
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, RecursionError) as problem:
        raise UserError(f"it is not YAML: {' '.join(str(problem).split())[:200]}") from problem


class _Strict(yaml.SafeLoader):
    """The safe loader without aliases, which can unfold into any size; a key that is there twice is refused too.

    The second key would silently win.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node, which must be written out."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(problem=f"alias *{event.anchor}: write it out", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if repeated := next((key for key, count in Counter(keys).items() if count > 1), None):
            raise yaml.MarkedYAMLError(problem=f"key {repeated!r} is there twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


# YAML 1.1 takes 1e-3 for a text, since it has no dot.
_Strict.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))
