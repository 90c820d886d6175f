import sys

from transformers import AutoConfig, AutoModelForCausalLM, GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerFast

from cnas.hub import register
from cnas.hub.auto import _modeling_modules, _own, auto_classes
from cnas.spaces.enas_rnn.modeling import CnasRnnConfig, CnasRnnForCausalLM


def test_registers_the_config_and_its_model():
    register()
    register()
    assert AutoConfig.for_model("cnas-rnn", sources=[0], activations=["relu"]).activations == ["relu"]
    model = AutoModelForCausalLM.from_config(CnasRnnConfig(vocab_size=5, hidden_size=4))
    assert type(model) is CnasRnnForCausalLM


def test_finds_a_network_by_its_place_alone(tmp_path, monkeypatch):
    import cnas.spaces

    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "__init__.py").write_text("")
    (tmp_path / "toy" / "modeling.py").write_text(
        "from transformers import PreTrainedConfig, PreTrainedModel\n"
        "class ToyConfig(PreTrainedConfig):\n    model_type = 'cnas-toy'\n"
        "class ToyForImageClassification(PreTrainedModel):\n    config_class = ToyConfig\n"
    )
    monkeypatch.setattr(cnas.spaces, "__path__", [*cnas.spaces.__path__, str(tmp_path)])
    try:
        found = {model.__name__ for module in _modeling_modules() for model in _own(module, PreTrainedModel)}
        register()
    finally:
        for name in ("cnas.spaces.toy.modeling", "cnas.spaces.toy"):
            sys.modules.pop(name, None)
    assert {"CnasRnnForCausalLM", "ToyForImageClassification"} <= found
    assert type(AutoConfig.for_model("cnas-toy")).__name__ == "ToyConfig"


def test_of_transformers_own_classes_nothing_needs_to_be_loaded():
    assert auto_classes(PreTrainedTokenizerFast) == {}
    assert auto_classes(GPT2LMHeadModel) == {}
    assert auto_classes(CnasRnnForCausalLM) == {
        "AutoConfig": CnasRnnConfig,
        "AutoModelForCausalLM": CnasRnnForCausalLM,
    }
