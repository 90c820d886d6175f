"""The code that travels: which files, what is changed in them, and what is refused."""

import ast
import importlib
import json
import sys

import pytest
import torch
from foreign_process import run_without_cnas
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    PreTrainedModel,
    pipeline,
)
from transformers.dynamic_module_utils import get_relative_imports
from transformers.image_processing_utils import BaseImageProcessor

from cnas.errors import UserError
from cnas.hub import save_network, write_remote_code
from cnas.hub.auto import _modeling_modules, _own
from cnas.hub.remote_code import _gather
from cnas.spaces.enas_rnn.modeling import CnasRnnForCausalLM

NETWORKS = [module.__name__ for module in _modeling_modules()]
CLASSIFIERS = [
    (model, processor)
    for module in _modeling_modules()
    for model in _own(module, PreTrainedModel)
    for processor in _own(module, BaseImageProcessor)
]
TOY = {
    "__init__.py": "raise SystemExit('a package does not travel')\n",
    "_scale.py": "from __future__ import annotations\n\nfrom .deep._half import HALF\n\nSCALE = 2 * HALF\n",
    "deep/_half.py": "HALF = 0.5\n",
    "small/_size.py": "SIZE = 4\n",
    "small/modeling.py": '''"""Classes that look at the mean brightness."""
import numpy as np
import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature
from transformers.modeling_outputs import ImageClassifierOutput

from .._scale import SCALE
from ._size import (
    SIZE,
)


class ToyConfig(PreTrainedConfig):
    model_type = "toy-image"


class ToyForImageClassification(PreTrainedModel):
    config_class = ToyConfig
    main_input_name = "pixel_values"

    def __init__(self, config):
        super().__init__(config)
        self.head = torch.nn.Linear(1, config.num_labels)
        self.post_init()

    def forward(self, pixel_values, **kwargs):
        from .._scale import SCALE as scale
        return ImageClassifierOutput(logits=self.head(scale * pixel_values.mean((1, 2, 3))[:, None]))


class ToyImageProcessor(BaseImageProcessor):
    model_input_names = ["pixel_values"]

    def preprocess(self, images, return_tensors=None, **kwargs):
        images = images if isinstance(images, list) else [images]
        pixels = [np.asarray(image.resize((SIZE, SIZE)), dtype="float32").transpose(2, 0, 1) for image in images]
        return BatchFeature({"pixel_values": np.stack(pixels) * (SCALE / 255)}, tensor_type=return_tensors)
''',
}
CLASSIFY = """
import json, torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

model = AutoModelForImageClassification.from_pretrained("image", trust_remote_code=True)
processor = AutoImageProcessor.from_pretrained("image", trust_remote_code=True)
image = Image.new("RGB", (8, 8), (10, 20, 60))
with torch.no_grad():
    logits = model(**processor(image, return_tensors="pt")).logits
(best, _) = pipeline("image-classification", "image", trust_remote_code=True)(image)
print(json.dumps([logits.tolist(), best["label"]]))
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Writes a package of files that can be imported; its own top file would stop the process."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / "toy" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("" if path.name == "__init__.py" else text, "utf-8")
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(str(tmp_path))
    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy"]:
        del sys.modules[name]


@pytest.mark.parametrize("module", NETWORKS)
def test_what_a_network_needs_lies_in_one_folder(module, tmp_path):
    files = _gather(iter([module]))
    assert "modeling.py" in files
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
        assert "from .." not in text
        # What `transformers` finds with its own means.
        assert {f"{found}.py" for found in get_relative_imports(tmp_path / name)} <= set(files)


@pytest.mark.parametrize("module", NETWORKS)
def test_nothing_but_the_place_of_siblings_is_changed(module):
    text = importlib.import_module(module).__loader__.get_source(module)
    for before, after in zip(text.split("\n"), _gather(iter([module]))["modeling.py"].split("\n"), strict=True):
        assert before == after or before.replace("from .._", "from ._") == after


def test_an_installed_package_goes_before_the_copy(model_folder):
    (model_folder / "modeling.py").write_text("raise SystemExit('the copy was run')\n")
    for trust in (None, False, True):
        model = AutoModelForCausalLM.from_pretrained(model_folder, trust_remote_code=trust)
        assert type(model) is CnasRnnForCausalLM


def test_what_others_saved_can_be_given_its_code(network, tmp_path):
    network.save_pretrained(tmp_path / "mine")
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    files = write_remote_code(tmp_path / "mine", network)
    after = json.loads((tmp_path / "mine" / "config.json").read_text())
    assert after.pop("auto_map") == {
        "AutoConfig": "modeling.CnasRnnConfig",
        "AutoModelForCausalLM": "modeling.CnasRnnForCausalLM",
    }
    assert after == config
    assert files == sorted(path.name for path in (tmp_path / "mine").glob("*.py"))


def test_a_network_for_images_travels_with_its_processor(toy, tmp_path):
    toy(TOY)
    from toy.small.modeling import ToyConfig, ToyForImageClassification, ToyImageProcessor

    torch.manual_seed(0)
    network, processor = ToyForImageClassification(ToyConfig()).eval(), ToyImageProcessor()
    (tmp_path / "elsewhere").mkdir()
    folder = save_network(network, processor, tmp_path / "elsewhere" / "image")
    assert {path.name for path in folder.glob("*.py")} == {"modeling.py", "_size.py", "_scale.py", "_half.py"}
    described = json.loads((folder / "preprocessor_config.json").read_text())["auto_map"]
    assert set(described["AutoImageProcessor"].values()) == {"modeling.ToyImageProcessor"}
    logits, label = json.loads(run_without_cnas(CLASSIFY, tmp_path / "elsewhere"))
    inputs = processor(Image.new("RGB", (8, 8), (10, 20, 60)), return_tensors="pt")
    expected = network(**inputs).logits
    assert torch.equal(torch.tensor(logits), expected)
    assert label == f"LABEL_{int(expected.argmax())}"


@pytest.mark.parametrize(("kind", "processor"), CLASSIFIERS)
def test_an_installed_classifier_loads_to_the_bit_and_asks_nobody(kind, processor, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("builtins.input", lambda *args: asked.append(args) or "n")
    torch.manual_seed(0)
    network = kind(kind.config_class(num_labels=3)).eval()
    folder = save_network(network, processor(), tmp_path / "image")
    image = Image.new("RGB", (40, 30), (10, 20, 60))
    reader, loaded = AutoImageProcessor.from_pretrained(folder), AutoModelForImageClassification.from_pretrained(folder)
    assert (type(loaded), type(reader)) == (kind, processor)
    with torch.no_grad():
        logits = loaded(**reader(image, return_tensors="pt")).logits
        assert torch.equal(logits, network(**processor()(image, return_tensors="pt")).logits)
    best, *_ = pipeline("image-classification", str(folder))(image)
    assert best["label"] == f"LABEL_{int(logits.argmax())}"
    assert asked == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("from toy import _scale", "toy.small.modeling must import siblings as 'from .name import …', got 'toy'"),
        ("import torch, toy._scale", "must import siblings as .* got 'toy._scale'"),
        ("from . import _size", "got 'from . import _size'"),
        ("from .. import _scale", "got 'from .. import _scale'"),
        ("x = 1; from ._size import SIZE", "got 'x = 1; from ._size import SIZE'"),
        ("from ..deep import _half", "must be in a file of its own, got 'toy.deep'"),
        ("from ._missing import x", "must be in a file of its own, got 'toy.small._missing'"),
        ("from ..modeling import x", "must differ in name, got modeling.py twice"),
    ],
)
def test_what_would_not_load_elsewhere_is_refused(toy, line, why):
    toy(TOY | {"modeling.py": "x = 1\n", "deep/__init__.py": "", "small/modeling.py": f"def f():\n    {line}\n"})
    with pytest.raises(UserError, match=why):
        _gather(iter(["toy.small.modeling"]))


def test_a_class_of_a_script_is_refused_and_nothing_written(network, tmp_path, monkeypatch):
    network.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(type(network), "__module__", "__main__")
    with pytest.raises(UserError, match="must be in a file of its own, got '__main__'"):
        write_remote_code(tmp_path, network)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_mended_file_says_the_same(toy):
    toy(TOY)
    files = _gather(iter(["toy.small.modeling"]))
    assert "from ._scale import SCALE\nfrom ._size import (\n" in files["modeling.py"]
    assert "        from ._scale import SCALE as scale\n" in files["modeling.py"]
    assert files["_scale.py"] == TOY["_scale.py"].replace(".deep._half", "._half")
    originals = {name: TOY[f"small/{name}"] for name in ("modeling.py", "_size.py")}
    for name, text in originals.items():
        before, after = ast.parse(text), ast.parse(files[name])
        assert [type(node) for node in ast.walk(before)] == [type(node) for node in ast.walk(after)]
