import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_folders import png_size, write_run

from cnas.errors import StorageError, UserError
from cnas.reports.analyses import (
    Misclassified,
    draw_similarity,
    read_misclassified,
    save,
    similarity,
    write_misclassified,
)

few = settings(derandomize=True, deadline=None, max_examples=25)
WRONG = {"a": (0, 1, 2, 3), "b": (2, 3, 4), "c": (9,)}


@pytest.fixture
def runs(tmp_path):
    folders = [write_run(tmp_path / name) for name in WRONG]
    for folder, wrong in zip(folders, WRONG.values(), strict=True):
        write_misclassified(folder, {"test": (10, wrong), "train": (20, ())})
    return folders


def test_it_is_the_share_of_common_failures(runs):
    found = similarity(runs)
    assert (found.split, found.names, found.errors) == ("test", ("a", "b", "c"), (4, 3, 1))
    assert found.matrix == ((1.0, 2 / 5, 0.0), (2 / 5, 1.0, 0.0), (0.0, 0.0, 1.0))


def test_networks_without_any_failure_fail_alike(runs):
    assert similarity(runs, "train").matrix == ((1.0,) * 3,) * 3


places = st.sets(st.integers(0, 9))


@few
@given(places, places)
def test_it_is_symmetric_and_one_only_for_equal_failures(tmp_path_factory, left, right):
    folders = [tmp_path_factory.mktemp("run") for _ in range(2)]
    for folder, wrong in zip(folders, (left, right), strict=True):
        write_misclassified(folder, {"test": (10, sorted(wrong, reverse=True))})
        assert read_misclassified(folder) == {"test": Misclassified(10, tuple(sorted(wrong)))}
    (one, value), (other, same) = similarity(folders).matrix
    assert one == same == 1.0
    assert value == other
    assert 0 <= value <= 1
    assert (value == 1) == (left == right)


def test_it_is_drawn_with_its_numbers(runs, tmp_path):
    found = similarity(runs)
    drawing = draw_similarity(found)
    assert "1 a, 2 b, 3 c: between 0.00 and 0.40, mean 0.13" in drawing.alternative
    numbers, png, svg = save(found, drawing, tmp_path / "figures")
    assert numbers.name == "similarity_test.json"
    assert json.loads(numbers.read_text())["matrix"][0][1] == 0.4
    assert svg.read_text().count(">0.40</text>") == 2
    assert min(png_size(png)) > 300


def test_names_stand_beside_the_matrix_where_they_have_room(runs):
    named = similarity(runs, names=["found", "random 1", "random 2"])
    assert named.names == ("found", "random 1", "random 2")
    assert ">3: random 2</text>" in draw_similarity(named).svg
    long = draw_similarity(similarity(runs, names=["found", "random 1", "a" * 19]))
    assert "random 1</text>" not in long.svg
    assert "1 found, 2 random 1" in long.caption
    with pytest.raises(UserError, match="names must be one for each of the 3 runs, got 1"):
        similarity(runs, names=["found"])


@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        "[]",
        '{"test": 1}',
        '{"test": {"samples": 3}}',
        '{"test": {"samples": 3, "wrong": [3]}}',
        '{"test": {"samples": 3, "wrong": [1, 1]}}',
        '{"test": {"samples": 3, "wrong": ["1"]}}',
    ],
)
def test_a_broken_file_is_named(runs, content):
    (runs[1] / "misclassified.json").write_text(content)
    with pytest.raises(
        UserError, match=r"b/misclassified.json must hold samples and wrong for each split: ."
    ) as caught:
        similarity(runs)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_compared_is_said(runs, tmp_path):
    with pytest.raises(UserError, match="at least two run folders, got 1"):
        similarity(runs[:1])
    with pytest.raises(UserError, match=r"split must be one of test, train for run .*, got 'valid'"):
        similarity(runs, "valid")
    write_misclassified(runs[2], {"test": (11, [3])})
    with pytest.raises(UserError, match=r"same data; their test splits have \[10, 11\] samples"):
        similarity(runs)
    with pytest.raises(UserError, match=r"has no misclassified.json"):
        similarity([runs[0], tmp_path / "nowhere"])
    with pytest.raises(StorageError, match="cannot write"):
        write_misclassified(tmp_path / "nowhere", {"test": (1, [])})
