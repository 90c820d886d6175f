"""From one process to the Hub and into another one, as a user does it: through the environment alone."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from foreign_process import run_without_cnas
from made_run import WORDS
from stub import TOKEN
from transformers import AutoModelForCausalLM

from cnas.data import TextConfig, load_text

REPO = "owner/found"
ROWS = {
    "train": ["the cat sat", "the dog sat", "a cat and a dog"],
    "validation": ["the cat and the bird"],
    "test": ["a dog sat", "the bird sat"],
}
PUSH = """
import sys
from pathlib import Path
from cnas.data import TextConfig, load_text
from cnas.hub import push_run
print(push_run(Path(sys.argv[1]), sys.argv[2]))
text = load_text("ptb_text_only", TextConfig())
print(text.name, text.fingerprint, text.vocabulary.decode(text.test))
"""
LOAD = """
import json, sys
import torch
from huggingface_hub import snapshot_download
from transformers import AutoModelForCausalLM, AutoTokenizer
model, told = AutoModelForCausalLM.from_pretrained(sys.argv[-1], output_loading_info=True, **trust)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[-1], **trust)
assert not any(told.values()), told
with torch.no_grad():
    logits = model.eval()(torch.arange(len(tokenizer))[None]).logits
words = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
print(json.dumps([logits.tolist(), words, snapshot_download(sys.argv[-1])]))
"""


def parquet(lines: list[str]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.table({"sentence": lines}), file)
    return file.getvalue()


def serve_text(hub):
    """A data set like that of the Penn Treebank: a script on its branch, and the Hub's conversion beside it."""
    repository = hub.store.add("datasets", "ptb-text-only/ptb_text_only")
    repository.commit("main", {"ptb_text_only.py": b"raise SystemExit('scripts are not run')\n"}, "a script")
    files = {f"penn_treebank/{split}/0000.parquet": parquet(lines) for split, lines in ROWS.items()}
    repository.commit("refs/convert/parquet", files, "conversion")


def child(hub, home, code, *args):
    """What a fresh process prints that knows the Hub by its environment."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    env |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    env |= {"HF_TOKEN": TOKEN, "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *args], env=env, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_travels_through_the_hub(hub, run, tmp_path):
    serve_text(hub)
    url, words = child(hub, tmp_path / "a", PUSH, str(run), REPO).splitlines()
    assert url.startswith(f"{hub.url}/{REPO}/commit/")

    # The project's loader, through the alias and the conversion.
    folder = tmp_path / "text"
    folder.mkdir()
    for split, lines in ROWS.items():
        (folder / f"{split}.txt").write_text("\n".join(lines), "utf-8")
    same = load_text(str(folder), TextConfig())
    assert words == f"ptb_text_only {same.fingerprint} a dog sat <eos> the <unk> sat <eos>"

    # The same files, and the same logits to the bit, in a process that never saw the run.
    logits, vocabulary, copy = json.loads(child(hub, tmp_path / "b", f"import cnas\ntrust = {{}}{LOAD}", REPO))
    for name, data in hub.files(REPO).items():
        assert Path(copy, name).read_bytes() == data, name
    with torch.no_grad():
        here = AutoModelForCausalLM.from_pretrained(run / "model").eval()(torch.arange(len(vocabulary))[None]).logits
    assert torch.equal(torch.tensor(logits), here)
    assert vocabulary == [*WORDS, "<pad>"]

    # And where the package is missing.
    (tmp_path / "c").mkdir()
    variables = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN}
    told = run_without_cnas(f"trust = {{'trust_remote_code': True}}{LOAD}", tmp_path / "c", REPO, **variables)
    assert json.loads(told)[:2] == [logits, vocabulary]
