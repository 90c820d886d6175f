"""Pickles of others: what is plain comes out as it was, everything else is refused before it runs."""

import io
import os
import pickle
from collections import OrderedDict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.data.unpickle import safe_load
from cnas.errors import UserError

few = settings(derandomize=True, deadline=None, max_examples=60)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def opened(value, protocol=4):
    return safe_load(io.BytesIO(pickle.dumps(value, protocol)), "it")


@few
@given(plain, st.integers(3, 5))
def test_plain_values_come_out_as_they_were(value, protocol):
    assert opened(value, protocol) == value
    assert opened(OrderedDict(a=value), protocol) == OrderedDict(a=value)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["u1", "i8", ">i4", "<f4", "f8", "?"])
def test_numbers_and_arrays_come_out_as_they_were(protocol, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    for each in (array, np.asfortranarray(array), array[:0]):
        found = opened({"data": each}, protocol)["data"]
        # The order of the bytes of a number may have become the machine's own.
        assert found.dtype.newbyteorder("=") == each.dtype.newbyteorder("=")
        assert found.shape == each.shape
        assert (np.asarray(found) == each).all()
    assert opened(array[1, 2], protocol) == array[1, 2].item()


@pytest.mark.parametrize("value", [os.system, Fraction(1, 2), ValueError("x"), np.random.default_rng, type])
def test_what_is_not_plain_is_refused(value):
    with pytest.raises(UserError, match="which is not allowed in a data file"):
        opened([value])


def test_a_name_is_shown_in_one_line():
    with pytest.raises(UserError, match=r"it asks for os\\n\.\\x1bsystem, which") as caught:
        safe_load(io.BytesIO(b"\x80\x04X\x03\x00\x00\x00os\nX\x07\x00\x00\x00\x1bsystem\x93."), "it")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("array", [np.array([None]), np.array(["a"]), np.zeros(2, "i4,O"), np.zeros(2, "V8")])
def test_arrays_of_more_than_numbers_are_refused(array):
    with pytest.raises(UserError, match="is not opened; allowed are plain numbers"):
        opened(array)


@pytest.mark.parametrize(
    "state",
    [
        ("|", None, ("a",), {"a": 1}, 8, 1, 0),  # it has fields
        ("|", None, None, None, -1, -1, 63),  # it says of itself that it holds objects
        ("<", ("i4", 2), None, None, -1, -1, 0),
        ("?", None, None, None, -1, -1, 0),
    ],
)
def test_a_type_may_say_no_more_than_that_it_is_a_number(state):
    # NumPy believes such a type, and would take the bytes of an array for the addresses of objects.
    parts = pickle.dumps((3, *state), 2)[2:-1]
    evil = b"\x80\x02cnumpy\ndtype\n" + pickle.dumps(("i8",), 2)[2:-1] + b"R" + parts + b"b."
    with pytest.raises(UserError, match="whose type is more than plain numbers"):
        safe_load(io.BytesIO(evil), "it")


@pytest.mark.parametrize(
    "evil",
    [
        b"\x80\x02ccollections\nOrderedDict\nN}U\x08fromkeysK\x01s\x86b.",
        b"\x80\x02c_codecs\nencode\nN}U\x0c__defaults__Ns\x86b.",
        b"\x80\x02cnumpy\ndtype\n}U\x01aK\x01sb.",
    ],
)
def test_what_may_be_named_may_not_be_altered(evil):
    with pytest.raises(UserError, match="wants to alter a function"):
        safe_load(io.BytesIO(evil), "it")
    assert opened(np.float64(0.5)) == 0.5


def test_a_byte_order_stays_with_the_array_that_has_it():
    assert opened(np.arange(3, dtype=">i4")).tolist() == [0, 1, 2]
    assert np.dtype("i4").byteorder == "="


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n)R"


@pytest.mark.parametrize(
    ("evil", "message"),
    [
        (ARRAY + b"NNs.", "wants to alter a function or a value"),  # all its numbers at once, as often as it likes
        (ARRAY + b"(NNu.", "wants to alter a function or a value"),
        # The numbers of an array could be exchanged, and freed, under what shares them.
        (b"cnumpy.core.numeric\n_frombuffer\n(" + ARRAY + b"NK\x01U\x01CtR.", "that is not plain numbers"),
        (b"c_codecs\nencode\n]R.", "or no tuple"),
    ],
)
def test_an_array_is_neither_shared_nor_written_to(evil, message):
    with pytest.raises(UserError, match=message):
        safe_load(io.BytesIO(b"\x80\x02" + evil), "it")


@pytest.mark.parametrize("key", [(("a",), 1), tuple(range(10)), ((),)])
def test_keys_are_plain_values_or_short_tuples_of_them(key):
    for value in ({key: 1}, {key: 1, 2: 3}, {key}):
        with pytest.raises(UserError, match="neither a plain value nor a short tuple"):
            opened(value)


@pytest.mark.parametrize("value", [{1, "2"}, {("a", 1): {}, None: set()}, [(((1,),),)], 10**400])
def test_containers_and_numbers_come_out_as_they_were(value):
    assert opened(value) == value


@pytest.mark.parametrize("name", ["(01)f4", "f4,i4", "O", "(2,2)f8", "__import__('os')", "f4" * 99, "M8[s]", "c8"])
def test_a_type_is_a_name_and_not_a_description(name):
    # Of a longer name NumPy parses parts as Python.
    evil = b"\x80\x02cnumpy\ndtype\n" + pickle.dumps((name,), 2)[2:-1] + b"R."
    with pytest.raises(UserError, match="is not opened; allowed are plain numbers"):
        safe_load(io.BytesIO(evil), "it")


def test_text_may_not_be_turned_into_anything():
    evil = b"\x80\x02c_codecs\nencode\nX\x03\x00\x00\x00abcU\x04zlib\x86R."
    with pytest.raises(UserError, match="text in 'zlib' is not opened"):
        safe_load(io.BytesIO(evil), "it")


@pytest.mark.parametrize("cut", [0, 1, 5, 20, -1])
def test_what_is_no_whole_pickle_is_said_in_a_line(cut):
    whole = pickle.dumps({"a": [1, 2, 3], "b": np.ones(3)})
    with pytest.raises(UserError, match=r"^it is no whole pickle of plain values: .") as caught:
        safe_load(io.BytesIO(whole[:cut]), "it")
    assert "\n" not in str(caught.value)


def test_texts_of_python_2_are_read_as_asked():
    old = b"\x80\x02U\x02\xe4b."
    assert safe_load(io.BytesIO(old), "it", encoding="latin1") == "äb"
    assert safe_load(io.BytesIO(old), "it", encoding="bytes") == b"\xe4b"
    with pytest.raises(UserError, match="no whole pickle"):
        safe_load(io.BytesIO(old), "it")
