"""What cards say of each kind of model (language model, image classifier): task, metric, how it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cnas import spaces
from cnas.runs.measures import ACCURACY, PER_TOKEN, PERPLEXITY, Metric
from cnas.runs.result import RunResult
from cnas.types import Paper


@dataclass(frozen=True, kw_only=True)
class ModelKind:
    """A task, its metric, and how such a model is used.

    Args:
        task: the Hub's name of it, as in ``pipeline(task)``.
        auto: the Auto class of `transformers` that loads it.
        noun: what the model is, with its article.
        searched: what the search looked for, with its article.
        metric: what such models are measured by.
        caution: what a reader must know before comparing the numbers.
        use: Python that loads the model from a variable ``folder`` and uses it; it follows two lines that import
            `cnas` and set ``folder``.
        papers: of what all these models share, each with what it is behind.
        part: what of the model the search has decided.
        stock: whether it is a stock model of `transformers`, so that no code comes with it.
    """

    task: str
    auto: str
    noun: str
    searched: str
    metric: Metric
    caution: str
    use: str
    papers: Mapping[str, Paper] = field(default_factory=dict)
    part: str = "cell"
    stock: bool = False


TYING = {
    "Network: embedding and decoder share their weights": Paper(
        "Using the Output Embedding to Improve Language Models",
        "Ofir Press, Lior Wolf",
        2017,
        "https://arxiv.org/abs/1608.05859",
    )
}

LANGUAGE_MODEL = ModelKind(
    task="text-generation",
    auto="AutoModelForCausalLM",
    noun="A word-level language model",
    searched="the cell of a recurrent network",
    metric=PERPLEXITY,
    caution="Perplexity is per word, `<unk>` and `<eos>` included; lower is better. It is comparable only on the same "
    "text with the same vocabulary.",
    use="""\
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)

inputs = tokenizer("the", return_tensors="pt")
tokens = model.generate(**inputs, do_sample=True, top_k=50, max_new_tokens=20)
print(tokenizer.decode(tokens[0]))""",
    papers={
        "Training: averaged SGD that starts by itself (NT-ASGD), AR and TAR": Paper(
            "Regularizing and Optimizing LSTM Language Models",
            "Stephen Merity, Nitish Shirish Keskar, Richard Socher",
            2018,
            "https://arxiv.org/abs/1708.02182",
        ),
        "Training: one dropout mask for all time steps": Paper(
            "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks",
            "Yarin Gal, Zoubin Ghahramani",
            2016,
            "https://arxiv.org/abs/1512.05287",
        ),
        **TYING,
    },
)

IMAGE_CLASSIFIER = ModelKind(
    task="image-classification",
    auto="AutoModelForImageClassification",
    noun="An image classifier",
    searched="the cell of a convolutional network",
    metric=ACCURACY,
    caution="Accuracy is the share of images whose most probable class is the right one, in percent; it is comparable "
    "only on the same images.",
    use="""\
from transformers import pipeline

classify = pipeline("image-classification", folder)
for guess in classify("picture.png"):
    print(f"{guess['score']:.3f} {guess['label']}")""",
)

TOKEN_MODEL = replace(
    LANGUAGE_MODEL,
    noun="A language model",
    metric=PER_TOKEN,
    caution="Perplexity is per token of its tokenizer, `<eos>` included, and where it is said so per word; lower is "
    "better. Per token it is comparable only on the same text with the same tokenizer.",
)

_KINDS = (LANGUAGE_MODEL, TOKEN_MODEL, IMAGE_CLASSIFIER)


def kind_of(result: RunResult) -> ModelKind:
    """The kind of model that a run has made, by what it is measured by, and by its space where that is known here.

    Args:
        result: of the run.
    """
    kind = next(kind for kind in _KINDS if kind.metric == result.metric)
    if result.space in spaces.names() and spaces.space_class(result.space).stock_networks:
        kind = replace(kind, searched="the sizes of a transformer", stock=True, papers=TYING)
    return replace(kind, part=spaces.part_of(result.space))
