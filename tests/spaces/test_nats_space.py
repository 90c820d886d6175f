"""Facts of the NATS topology space: size, notation, which cells are connected, numbers of parameters."""

import itertools
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.errors import UserError
from cnas.fields import from_dict, to_dict
from cnas.spaces import NatsSpace
from cnas.spaces.nats.topology import CONV_1X1, CONV_3X3, OPERATIONS, is_connected

SPACE = NatsSpace()
BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_published_space_has_its_size_and_order():
    assert SPACE.size == 15_625
    assert SPACE.shape == (6, 5)
    assert SPACE.operations == ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    assert [(one.target, one.edges, one.sources) for one in SPACE.decisions()] == [
        (1, (0,), (0,)),
        (2, (1,), (0,)),
        (2, (2,), (1,)),
        (3, (3,), (0,)),
        (3, (4,), (1,)),
        (3, (5,), (2,)),
    ]
    assert {decision.operations for decision in SPACE.decisions()} == {tuple(range(5))}
    assert (SPACE.channels, SPACE.cells, SPACE.routed_cells) == (16, 5, 15)


def reachable(operations):
    """By the powers of the cell's matrix of open edges."""
    matrix = torch.zeros(4, 4)
    for (target, source), operation in zip(((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)), operations, strict=True):
        matrix[source, target] = operation != 0
    return bool(sum(torch.linalg.matrix_power(matrix, length)[0, 3] for length in (1, 2, 3)) > 0)


def test_341_cells_are_not_connected():
    every = list(itertools.product(range(5), repeat=6))
    assert sum(not is_connected(operations) for operations in every) == 341
    assert all(is_connected(operations) == reachable(operations) for operations in every[::7])
    assert not SPACE.is_connected(SPACE.architecture([(edge, 0) for edge in range(6)]))


@pytest.mark.parametrize(("classes", "count"), [(10, 1_692_698), (100, 1_698_548), (120, 1_699_848)])
def test_the_supernet_has_as_many_parameters_as_the_published_one(classes, count):
    with torch.device("meta"):
        supernet = NatsSpace(classes=classes).build_supernet()
    assert parameters(supernet) == count


@settings(derandomize=True, deadline=None, max_examples=10)
@given(picks=st.lists(st.integers(0, 4), min_size=6, max_size=6), classes=st.sampled_from([10, 100, 120]))
def test_a_network_has_as_many_parameters_as_the_benchmark_says(picks, classes):
    with torch.device("meta"):
        network = SPACE.build_network(SPACE.architecture(list(enumerate(picks))), classes=classes)
    expected = 73_306 + 243_040 * picks.count(CONV_3X3) + 28_000 * picks.count(CONV_1X1)
    assert parameters(network) == expected + {10: 0, 100: 5_850, 120: 7_150}[classes]
    assert network.config.operations == [OPERATIONS[pick] for pick in picks]


def test_two_networks_have_the_published_sizes():
    sizes = {
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|": 129_306,
        BEST: 73_306 + 5 * 243_040,
    }
    for text, count in sizes.items():
        with torch.device("meta"):
            assert parameters(SPACE.build_network(SPACE.parse(text))) == count


def test_every_architecture_is_read_back():
    for picks in itertools.product(range(5), repeat=6):
        architecture = SPACE.architecture(list(enumerate(picks)))
        assert SPACE.parse(architecture.to_str()).choices == architecture.choices


OPS = "none, skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"architecture '': character 1 must be '\|', got nothing"),
        ("nor_conv_3x3~0", r"character 1 must be '\|', got 'nor_conv_3x3~0'"),
        ("|nor_conv_5x5~0|", f"character 2 must be one of {OPS}, got 'nor_conv_5x5~0|'"),
        ("|none~1|", r"character 6 must be '~0\|', got '~1\|'"),
        ("|none~0|none~0|", r"character 9 must be '\+\|', got 'none~0\|'"),
        ("|none~0|+|none~0|skip_connect~1|", r"character 33 must be '\+\|', got nothing"),
        (f"{BEST}+", r"character 96 must be the end, got '\+'"),
        (f" {BEST}", r"character 1 must be '\|'"),
        ("|none~0|+|none~0|~1|", f"character 18 must be one of {OPS}, got '~1|'"),
        ("|none~٠|", r"character 6 must be '~0\|'"),
        ("|none\n~0|", r"character 6 must be '~0\|', got '\\n~0\|'"),
        (BEST * 3, "at most 256 characters, got 285"),
    ],
)
def test_a_wrong_string_says_where_and_what_is_allowed(text, message):
    with pytest.raises(UserError, match=message.replace("0|'", r"0\|'").replace(r"\\|", r"\|")) as caught:
        SPACE.parse(text)
    assert str(caught.value).startswith("architecture ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["|" * 10_000_000, BEST + "x" * 10_000_000, "|none~0|+" * 1_200_000])
def test_a_string_of_ten_megabytes_is_refused_for_its_length(text):
    with pytest.raises(UserError, match="at most 256 characters") as caught:
        SPACE.parse(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("field", ["channels", "cells", "classes", "image_channels"])
def test_a_wrong_size_is_named(field):
    with pytest.raises(ValueError, match=f"{field} must be at least 1, got 0"):
        NatsSpace(**{field: 0})
    with pytest.raises(ValueError, match=f"{field} must be at least 1, got -3"):
        SPACE.build_network(SPACE.parse(BEST), **{field: -3})


def test_a_configuration_is_read_back():
    space = NatsSpace(channels=8, cells=2, classes=3, image_channels=1)
    assert from_dict(NatsSpace, json.loads(json.dumps(to_dict(space)))) == space
