"""The package stays small: in all, by file and by function."""

from statistics import median

import pytest
from code_lines import PACKAGE, code_lines, function_lengths, rooms, table

BOUND = 18_775
"""Code lines of the whole package: lowered when lines go, and raised for nothing but a new feature."""
LONGEST_FILE, LONGEST_FUNCTION, MEDIAN_FUNCTION = 300, 60, 8
LONG_FILES: set[str] = set()
"""Files above the bound; the list only shrinks."""
FILES = sorted(PACKAGE.rglob("*.py"))
FUNCTIONS = {
    f"{path.relative_to(PACKAGE.parent)}:{name}": length
    for path in FILES
    for name, length in function_lengths(path.read_text("utf-8")).items()
}


def long_files():
    return {
        str(path.relative_to(PACKAGE.parent))
        for path in FILES
        if len(path.read_text("utf-8").splitlines()) > LONGEST_FILE
    }


def test_the_package_has_not_grown():
    assert sum(sum(files.values()) for files in rooms().values()) <= BOUND


def test_no_file_is_long_but_those_on_a_list_that_shrinks():
    assert long_files() == LONG_FILES


def test_functions_are_short():
    assert {name: length for name, length in FUNCTIONS.items() if length > LONGEST_FUNCTION} == {}
    assert median(FUNCTIONS.values()) <= MEDIAN_FUNCTION


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", set()),
        ("# a comment\n\n", set()),
        ('"""A docstring\nof two lines."""\n', set()),
        ('x = """A text\nof two lines."""\n', {1, 2}),
        ('x: int\n"""About x."""\n', {1, 2}),
        ("f(\n    # why\n    1,\n)\n", {1, 3, 4}),
        ('class A:\n    """Says."""\n\n    async def f(self):\n        """Says."""\n        pass\n', {1, 4, 6}),
    ],
)
def test_what_counts(source, expected):
    assert code_lines(source) == expected


def test_what_a_function_has():
    source = "@one\ndef f():\n    def g():\n        # why\n        return 1\n    return g\n"
    assert function_lengths(source) == {"f": 4, "f.g": 2}


def test_the_table_has_every_room_and_the_total():
    *rows, total = table().splitlines()
    folders = {path.name for path in PACKAGE.iterdir() if [*path.glob("*.py")]}
    assert {row.split()[0] for row in rows} == folders | {"cnas"}
    assert int(total.split()[3]) == sum(len(code_lines(path.read_text("utf-8"))) for path in FILES)
