"""What goes to the Hub, what never does, and that saying it twice changes nothing."""

import json
import os
import re
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard, constants
from made_run import PLACE, TABLE, write
from stub import TOKEN

from cnas.errors import UserError
from cnas.hub import push_run
from cnas.hub.model_kind import LANGUAGE_MODEL
from cnas.hub.push import without_weights

# `huggingface_hub` uploads large files in a way that its own HTTP client advises against.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw:DeprecationWarning")
REPO = "owner/found"
CELL = {"README.md", "result.json", "cell.txt"}


def push(run, *args, **options):
    said = []
    return push_run(run, *(args or (REPO,)), log=said.append, **options), said


def names(folder, prefix=""):
    return {f"{prefix}{path.name}" for path in folder.iterdir()}


def pictures(run):
    return names(run / "figures", "figures/") | names(run / ".eval_results", ".eval_results/")


def test_a_run_becomes_a_repository_with_the_model_at_its_root(hub, run):
    url, said = push(run)
    files, model = hub.files(REPO), names(run / "model")
    assert model > {"config.json", "model.safetensors", "tokenizer.json", "modeling.py"}
    assert set(files) == model | CELL | {"samples.txt", "metrics.jsonl"} | pictures(run)
    assert all((run / "model" / name).read_bytes() == files[name] for name in model)
    assert all((run / name).read_bytes() == files[name] for name in set(files) - model - {"README.md"})
    repository = hub.store.repositories["models", REPO]
    assert url == f"{hub.url}/{REPO}/commit/{repository.revisions['main'].sha}"
    assert repository.titles[1:] == ["Add the model", "Add the card and what was measured"]
    assert said == []


def test_measured_times_go_with_what_was_measured(hub, run):
    (run / "latency.json").write_text("{}")
    push(run)
    assert hub.files(REPO)["latency.json"] == b"{}"


def test_the_card_names_the_repository(hub, run):
    push(run)
    before, after = (run / "README.md").read_text("utf-8"), hub.files(REPO)["README.md"].decode()
    changed = [pair for pair in zip(before.splitlines(), after.splitlines(), strict=True) if pair[0] != pair[1]]
    assert changed == [('folder = "model"', f'folder = "{REPO}"')]
    assert ModelCard(after).data.library_name == "transformers"


def test_the_architecture_alone_has_nothing_that_was_trained(hub, run):
    push(run, architecture_only=True)
    files = hub.files(REPO)
    code = {path.name for path in (run / "model").glob("*.py")}
    assert "modeling.py" in code
    assert set(files) == CELL | {"config.json"} | code | pictures(run)
    card = files["README.md"].decode()
    (snippet,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert f'from_config(AutoConfig.from_pretrained("{REPO}"))' in snippet
    assert "`trust_remote_code=True`" in card
    assert re.findall("^## .*", card, re.M) == re.findall("^## .*", (run / "README.md").read_text("utf-8"), re.M)


def test_a_stock_network_is_made_anew_without_code():
    card = without_weights("# A model\n\n## Use\n\nold\n\n## End\n", REPO, replace(LANGUAGE_MODEL, stock=True))
    (snippet,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert snippet.startswith("from transformers import AutoConfig")
    assert "cnas" not in card
    assert "trust_remote_code" not in card
    assert card.endswith("```\n\n## End\n")


def test_code_that_the_network_does_not_need_stays(hub, run):
    before = {path.name for path in (run / "model").glob("*.py")}
    for name in ("notes.py", "network_old.py", "__init__.py"):
        write(run / "model" / name, "import os\n")
    _, said = push(run)
    assert {name for name in hub.files(REPO) if name.endswith(".py")} == before
    assert sorted(line for line in said if ".py " in line) == [
        "left out: model/__init__.py is no code of the network",
        "left out: model/network_old.py is no code of the network",
        "left out: model/notes.py is no code of the network",
    ]


def test_checkpoints_go_only_if_asked(hub, run):
    push(run)
    saved = {f"checkpoints/search/step-2/{name}" for name in ("state.safetensors", "trainer.json", "manifest.json")}
    assert not saved & set(hub.files(REPO))
    push(run, include_checkpoints=True)
    assert {name for name in hub.files(REPO) if name.startswith("checkpoints/")} == saved
    with pytest.raises(UserError, match="architecture_only and include_checkpoints exclude each other"):
        push(run, architecture_only=True, include_checkpoints=True)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("model/pytorch_model.bin", "may be a pickle"),
        ("model/optimizer.pt", "may be a pickle"),
        ("figures/weights.pkl", "may be a pickle"),
        ("weights.npy", "may be a pickle"),
        ("checkpoints/search/step-2/random_states_0.pkl", "may be a pickle"),
        ("model/.netrc", "is a dot file"),
        ("figures/.hidden/a.png", "is a dot file"),
        ("model/notes.docx", "is none of .jinja .json .py .safetensors .txt"),
        ("notes.txt", "is no file of a run"),
        ("recipe.py", "is no file of a run"),
        ("figures/draw.py", "is none of .png .svg"),
        ("checkpoints/search/resume.py", "is none of .json .safetensors"),
        (".env", "is no file of a run"),
        ("other/config.json", "is no file of a run"),
    ],
)
def test_what_does_not_belong_is_left_out_by_name(hub, run, name, why):
    write(run / name, "secret")
    _, said = push(run, include_checkpoints=True)
    shown = {"figures/.hidden/a.png": "figures/.hidden", "other/config.json": "other"}.get(name, name)
    assert said == [f"left out: {shown} {why}"]
    assert b"secret" not in b"".join(hub.files(REPO).values())


def test_links_are_not_followed(hub, run, tmp_path):
    secret = write(tmp_path / "outside" / "secret.json", "secret")
    (run / "model" / "more.json").symlink_to(secret)
    (run / "figures" / "folder").symlink_to(secret.parent)
    (run / "cell.txt").unlink()
    (run / "cell.txt").symlink_to(secret)
    _, said = push(run)
    links = ["model/more.json", "cell.txt", "figures/folder"]
    assert sorted(said) == sorted(f"left out: {name} is a link" for name in links)
    assert b"secret" not in b"".join(hub.files(REPO).values())
    assert "cell.txt" not in hub.files(REPO)


def test_nothing_private_travels(hub, run):
    push(run, include_checkpoints=True)
    sent = b"".join(hub.files(REPO).values()).decode("utf-8", "replace")
    assert not [word for word in (TOKEN, str(run), PLACE, TABLE, os.path.expanduser("~/")) if word in sent]  # noqa: PTH111
    assert json.loads(hub.files(REPO)["config.json"])["model_type"] == "cnas-rnn"
    assert "logs/events.out" not in hub.files(REPO)


@pytest.mark.parametrize("secret", ["token", "run", "data", "table"])
def test_a_file_that_names_a_secret_stops_the_push_before_it_begins(hub, run, secret):
    text = {"token": TOKEN, "run": str(run), "data": PLACE, "table": TABLE}[secret]
    write(run / "model" / "tokenizer_config.json", json.dumps({"name": f"x {text}/y"}))
    with pytest.raises(UserError, match=r"tokenizer_config.json holds (the token|a path of this machine)") as caught:
        push(run)
    assert text not in str(caught.value)
    assert hub.seen == []


def test_a_second_push_sends_nothing_again(hub, run):
    first, _ = push(run)
    before = hub.store.repositories["models", REPO].titles.copy()
    uploads = hub.count("put"), hub.count("commit")
    again, _ = push(run)
    assert again == first
    assert (hub.count("put"), hub.count("commit")) == uploads
    assert hub.store.repositories["models", REPO].titles == before
    changed = json.loads((run / "result.json").read_text("utf-8")) | {"recipe": "another"}
    write(run / "result.json", json.dumps(changed))
    push(run)
    assert json.loads(hub.files(REPO)["result.json"]) == changed
    assert hub.count("put") == uploads[0]
    assert hub.seen[-1].size < (run / "README.md").stat().st_size


def test_a_private_repository_is_private_or_refused(hub, run):
    push(run, "owner/secret", private=True)
    assert hub.store.repositories["models", "owner/secret"].private
    push(run, "owner/secret", private=True)
    push(run)
    assert not hub.store.repositories["models", REPO].private
    before = hub.count("commit")
    with pytest.raises(UserError, match="owner/found is public already"):
        push(run, private=True)
    assert hub.count("commit") == before


@pytest.mark.parametrize(
    "repo_id", ["", "found", "a/b/c", "owner/", "/found", "owner/a b", "owner/a--b", "../x", "a/b.git"]
)
def test_a_malformed_name_is_refused_before_any_request(hub, run, repo_id):
    with pytest.raises(UserError, match="repo_id must be owner/name"):
        push(run, repo_id)
    assert hub.seen == []


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("result.json", "result.json"),
        ("README.md", "README.md"),
        ("model/config.json", "model/config.json"),
        ("model/model.safetensors", r"model/\*.safetensors"),
    ],
)
def test_a_run_that_is_not_finished_is_refused_before_any_request(hub, run, gone, named):
    (run / gone).unlink()
    with pytest.raises(UserError, match=f"is not the folder of a finished run: it has no {named}$"):
        push(run)
    assert hub.seen == []


def test_other_bad_input_is_refused_before_any_request(hub, run, monkeypatch):
    with pytest.raises(UserError, match="which is no folder"):
        push(run / "nothing")
    whole = (run / "result.json").read_text("utf-8")
    for text, message in (("[1", "is not JSON"), ("[]", "must hold a JSON object"), ("{}", "space is missing")):
        write(run / "result.json", text)
        with pytest.raises(UserError, match=rf"result\.json:? {message}"):
            push(run)
    write(run / "result.json", whole)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        push(run)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match="token is missing"):
        push(run)
    assert hub.seen == []
