"""Saved models in a process that cannot import `cnas`."""

import json

import pytest
import torch
from foreign_process import run_without_cnas
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from cnas.hub import save_model
from cnas.spaces import DartsRnnSpace, EnasRnnSpace

WORDS = ("<unk>", "<eos>", "N", "the", *(f"w{index}" for index in range(26)))
SPACES = {"enas": EnasRnnSpace, "darts": DartsRnnSpace}
LOAD = """
import json, torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, pipeline

found = {}
for folder in sys.argv[2:]:
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model, told = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, output_loading_info=True)
    assert not any(told.values()), told
    assert type(model).__module__.startswith("transformers_modules."), type(model)
    inputs = tokenizer("the w1 w2", return_tensors="pt")
    generator = pipeline("text-generation", folder, trust_remote_code=True)
    with torch.no_grad():
        logits = model(torch.arange(20).view(2, 10)).logits
    model.save_pretrained(f"{folder}-again")
    found[folder] = {
        "logits": logits.tolist(),
        "greedy": model.generate(**inputs, do_sample=False, max_new_tokens=6).tolist(),
        "line": generator("the w1", do_sample=False, max_new_tokens=4)[0]["generated_text"],
        "ids": inputs["input_ids"].tolist(),
        "plain": PreTrainedTokenizerFast.from_pretrained(folder)("The w1 w2 dogs\\nN")["input_ids"],
        "unasked": AutoTokenizer.from_pretrained(folder, trust_remote_code=False)("the w1 w2")["input_ids"],
    }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def networks(place):
    built = {}
    for name, space in SPACES.items():
        found = space(vocab_size=len(WORDS), hidden_size=12, nodes=4, init_range=0.8)
        torch.manual_seed(0)
        built[name] = found.build_network(found.sample(torch.Generator().manual_seed(1))).eval()
        save_model(built[name], WORDS, place / name)
    return built


@pytest.fixture(scope="module")
def elsewhere(networks, place):
    """What another process finds in both folders; it is started once, since it loads torch."""
    return json.loads(run_without_cnas(LOAD, place, *networks))


@pytest.mark.parametrize("name", SPACES)
def test_the_logits_are_the_same_bits(networks, elsewhere, name):
    with torch.no_grad():
        here = networks[name](torch.arange(20).view(2, 10)).logits
    assert torch.equal(torch.tensor(elsewhere[name]["logits"])[..., :-1], here)  # the last is that of <pad>


@pytest.mark.parametrize("name", SPACES)
def test_it_generates_the_same_words(elsewhere, place, name):
    tokenizer = AutoTokenizer.from_pretrained(place / name)
    inputs = tokenizer("the w1 w2", return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(place / name)
    tokens = model.generate(**inputs, do_sample=False, max_new_tokens=6)
    assert elsewhere[name]["greedy"] == tokens.tolist()
    (here,) = pipeline("text-generation", str(place / name))("the w1", do_sample=False, max_new_tokens=4)
    assert elsewhere[name]["line"] == here["generated_text"]


@pytest.mark.parametrize("name", SPACES)
def test_the_tokenizer_needs_no_code(elsewhere, place, name):
    tokenizer = AutoTokenizer.from_pretrained(place / name)
    assert elsewhere[name]["ids"] == [tokenizer("the w1 w2")["input_ids"]]
    assert elsewhere[name]["unasked"] == tokenizer("the w1 w2")["input_ids"]
    assert elsewhere[name]["plain"] == tokenizer("The w1 w2 dogs\nN")["input_ids"]


@pytest.mark.parametrize("name", SPACES)
def test_what_is_saved_there_loads_here(networks, elsewhere, place, name):
    assert elsewhere.keys() == networks.keys()
    again = AutoModelForCausalLM.from_pretrained(place / f"{name}-again")
    assert type(again) is type(networks[name])
    ids = torch.arange(20)[None]
    assert torch.equal(again(ids).logits[..., :-1], networks[name](ids).logits)
    assert {path.name for path in (place / name).glob("*.py")} == {
        path.name for path in (place / f"{name}-again").glob("*.py")
    }
