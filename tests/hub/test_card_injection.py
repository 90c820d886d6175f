"""Text from outside changes nothing around it, neither for those who read YAML nor for those who render Markdown."""

import functools
import re

import pytest
import yaml
from card_result import everywhere, render, run_result
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cnas.hub._markdown import one_line
from cnas.hub.metadata import eval_results
from cnas.hub.model_kind import LANGUAGE_MODEL

HOSTILE = [
    "a\n---\nlicense: mit",
    "---",
    "x\nlicense: apache-2.0\ntags: [evil]",
    "```\n# Owned\n```python",
    "<script>alert(1)</script>",
    "</details><img src=x onerror=alert(1)>",
    "<!-- never ends",
    "{{ 7 * 7 }}{% raw %}",
    "\u202e| a | b |\x00\x1b[31m",
    "': [\"!!python/object/apply:os.system ['id']",
    "[click](javascript:alert(1)) `code` **bold** __bold__ _it_",
    "![x](https://example.org/x.png)",
    "<https://example.org>",
    "[a]: https://example.org",
    "\\\\(x\\\\) $$y$$",
    "/home/ada/secret/corpus",
    "/home/ada king/secret corpus/corpus",
    "~ada/corpus",
    "file:///home/ada/corpus",
    "C:\\Users\\ada\\corpus",
    "&lt;b&gt; &#60;b&#62;",
    "1. a",
    "owner/data",
]
KEYS = {"license", "library_name", "pipeline_tag", "tags", "metrics", "model-index"}
MARKDOWN = MarkdownIt("commonmark").enable("table")
# Letters, and whatever means something to YAML, HTML or Markdown.
LETTERS = st.sampled_from([*"-`~\n\r<>#|[]{}%!&:;'\"\\/ \t_*+=.()@$", "a", "1", "\u2028", "\x85"])


def front_matter(text):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)[1])


def skeleton(text):
    """All elements of the rendered card in order, with their targets and raw HTML, but without their words."""
    body = text.split("\n---\n", 1)[1]
    found = []
    for token in MARKDOWN.parse(body):
        children = [child for child in token.children or [token] if child.type not in {"text", "text_special"}]
        raw = {"html_block", "html_inline"}
        found += [
            (
                child.type,
                child.tag,
                child.attrs.get("href"),
                child.attrs.get("src"),
                child.content * (child.type in raw),
            )
            for child in children
        ]
    return found


@functools.cache
def harmless(word):
    return skeleton(everywhere(word))


def check(text):
    card = everywhere(text)
    data = front_matter(card)
    assert set(data) - {"datasets", "language"} == KEYS
    assert data["tags"][:3] == ["cnas", "curriculum-nas", "neural-architecture-search"]
    assert len(data["tags"]) == 4
    assert data["license"] == "unknown"
    # The name of a data set on the Hub may be a link to it.
    (hub_id,) = data.get("datasets", ["word"])
    assert skeleton(card) == harmless(hub_id)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_changes_nothing_around_it(text):
    check(text)
    card = everywhere(text)
    assert "49" not in card
    assert not {"\u202e", "\x00", "\x1b"} & set(card)


@pytest.mark.parametrize("text", [text for text in HOSTILE if "ada" in text])
def test_folders_are_left_out(text):
    card = render(
        {
            "dataset": {"name": text, "fingerprint": text},
            "recipe": text,
            "environment": {"torch": text},
            "benchmark": {"dataset": text, "test_accuracy": 1.5, "source": text},
        },
        model_name=text,
        folder=text,
        config={"data": text, "images": {"file": text}},
    )
    assert "corpus" in card
    assert not re.search(r"\bada\b|home|Users|secret", card)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.text(alphabet=LETTERS, min_size=1, max_size=14))
def test_any_text_leaves_front_matter_and_elements_alone(text):
    assume(one_line(text))
    check(text)


def test_the_check_sees_what_it_looks_for():
    plain = skeleton("---\n---\n\n| a |\n|---|\n| word |\n")
    for text in ("<b>", "*a*", "_a_", "`a`", "[a](b)", "![a](b)", "<https://a.b>", "x |\n| y"):
        assert skeleton(f"---\n---\n\n| a |\n|---|\n| {text} |\n") != plain


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.text(alphabet=LETTERS, min_size=1, max_size=14))
def test_evaluation_results_have_one_safe_file_at_most(text):
    changed = run_result(dataset={"name": text, "fingerprint": "00"})
    for name in eval_results(changed, LANGUAGE_MODEL):
        assert re.fullmatch(r"[\w-][\w.-]*\.yaml", name)
