"""What `import cnas` and the help load, and that the Auto classes know our networks whoever is imported first."""

import subprocess
import sys

import pytest
from transformers import PretrainedConfig

import cnas
from cnas.hub import save_model, save_network
from cnas.hub.auto import image_processor
from cnas.spaces import EnasRnnSpace, NatsSpace

HEAVY = ("accelerate", "datasets", "jinja2", "matplotlib", "numpy", "pyarrow", "shtab", "torch", "transformers", "yaml")


def python(code, folder=None):
    """What a new process prints, in which any warning is an error."""
    words = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


LOADED = "import sys; print(sorted({*" + repr(HEAVY) + "} & {*sys.modules}))"


@pytest.mark.parametrize("argv", ["--help", "compare --help", "compair", "sweep --jobs x"])
def test_the_help_loads_nothing_heavy(argv):
    code = f"""
import contextlib, runpy, sys
sys.argv = ["cnas", *{argv.split()!r}]
with contextlib.suppress(SystemExit):
    runpy.run_module("cnas", run_name="__main__")
"""
    assert python(code + LOADED)[-1] == "[]"


def test_the_package_loads_nothing_heavy_but_has_its_names():
    assert python(f"import cnas; {LOADED}") == ["[]"]
    assert [name for name in cnas.__all__ if getattr(cnas, name).__name__ != name] == []
    with pytest.raises(AttributeError, match="no attribute 'CurriculumTeacher'"):
        _ = cnas.CurriculumTeacher


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with a language model, ``text``, and an image classifier, ``image``."""
    folder = tmp_path_factory.mktemp("models")
    rnn = EnasRnnSpace(vocab_size=4, hidden_size=4, nodes=3)
    save_model(rnn.build_network(rnn.parse("0 0 1 1 1 3")), ("<unk>", "<eos>", "the", "a"), folder / "text")
    nats = NatsSpace(channels=4, cells=1)
    network = nats.build_network(nats.parse(CELL))
    assert isinstance(network.config, PretrainedConfig)
    save_network(network, image_processor(type(network))(), folder / "image")
    return folder


CELL = "|nor_conv_1x1~0|+|skip_connect~0|none~1|+|none~0|none~1|nor_conv_1x1~2|"
CONFIG, TEXT, IMAGE = "CnasRnnConfig", "CnasRnnForCausalLM", "CnasNatsForImageClassification"
ORDERS = {
    "AutoConfig alone": (
        "import cnas; from transformers import AutoConfig as A; show(A.from_pretrained('text'))",
        [CONFIG],
    ),
    "the package first, then a model of transformers": (
        "import cnas; from transformers import PreTrainedModel, AutoModelForCausalLM as A;"
        "show(A.from_pretrained('text'))",
        [TEXT],
    ),
    "the package last": (
        "from transformers import AutoModelForCausalLM as A; import cnas; show(A.from_pretrained('text'))",
        [TEXT],
    ),
    "transformers first, its classes last": (
        "import transformers, cnas; show(transformers.AutoModelForCausalLM.from_pretrained('text'))",
        [TEXT],
    ),
    "readers": (
        "import cnas; from transformers import AutoImageProcessor as A; show(A.from_pretrained('image'));"
        "from transformers import AutoTokenizer as A; print(A.from_pretrained('text').decode([2, 3]))",
        ["CnasNatsImageProcessor", " the a"],
    ),
    "pipelines": (
        "import cnas; from transformers import pipeline; show(pipeline('text-generation', 'text').model);"
        "show(pipeline('image-classification', 'image').model)",
        [TEXT, IMAGE],
    ),
    "one of our own networks first": (
        "import cnas.spaces.nats.modeling, transformers;"
        "show(transformers.AutoModelForImageClassification.from_pretrained('image'))",
        [IMAGE],
    ),
}


@pytest.mark.parametrize(
    "order", [pytest.param(order, marks=[pytest.mark.cross] * (at % 2)) for at, order in enumerate(ORDERS)]
)
def test_the_auto_classes_know_our_networks(order, models):
    code, names = ORDERS[order]
    shown = python(f"show = lambda found: print(type(found).__name__)\n{code}", models)
    assert shown == names


FAKE = {
    "transformers/__init__.py": "",
    "transformers/models/__init__.py": "",
    "transformers/models/auto/__init__.py": "",
    "transformers/models/auto/configuration_auto.py": "log.append('configuration')",
    "transformers/models/auto/modeling_auto.py": (
        "log.append('modeling begins')\nfrom transformers.models.auto import configuration_auto\n"
        "log.append('modeling ends')"
    ),
    "transformers/broken.py": "from transformers.models.auto import configuration_auto\nraise ImportError('broken')",
}


SHARED = """
from importlib.machinery import PathFinder
class Shared:
    "A finder and loader of all modules, such as that of pytest."
    def find_spec(self, name, path=None, target=None):
        found = PathFinder.find_spec(name, path, target)
        if found is not None and name.startswith("transformers"):
            found.loader = self
            return found
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        with open(module.__spec__.origin) as file:
            exec(file.read(), vars(module))
sys.meta_path.insert(0, Shared())
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import cnas, transformers", []),
        ("import transformers, cnas", []),
        (
            "import cnas, transformers.models.auto.modeling_auto",
            ["modeling begins", "configuration", "modeling ends", "registered"],
        ),
        (
            "import transformers.models.auto.modeling_auto, cnas",
            ["modeling begins", "configuration", "modeling ends", "registered"],
        ),
        ("import cnas\ntry: import transformers.broken\nexcept ImportError: log.append('broken')\n"
         "import transformers.models.auto.modeling_auto",
         ["configuration", "broken", "modeling begins", "modeling ends", "registered"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("loaders", ["", SHARED], ids=["usual loaders", "one loader of all modules"])
def test_registration_waits_for_the_outermost_import_and_happens_once(code, expected, loaders, tmp_path):
    for name, text in FAKE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    before = f"""
import builtins, sys, types
sys.path.insert(0, {str(tmp_path)!r})
builtins.log = []
sys.modules["cnas.hub.auto"] = types.SimpleNamespace(register=lambda: log.append("registered"))
{loaders}
kept = len(sys.meta_path)
"""
    after = "import transformers.models.auto.configuration_auto\nprint(log)\nassert len(sys.meta_path) == kept"
    print_early = "print(log)\n"
    assert python(f"{before}{code}\n{print_early}{after}")[0] == str(expected)
