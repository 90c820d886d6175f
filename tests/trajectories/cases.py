"""Fourteen short searches, each with the training of what it found, as command lines of the recipes.

Recipes and their flags are what users type, so the same lines run on every version, however its inside is laid out.
"""

from __future__ import annotations

TEXT = [
    "--preset=smoke",
    "--data=corpus",
    "--text.vocab-size=60",
    "--text.length=10",
    "--text.search-tokens=600",
    "--text.train-tokens=600",
    "--space.hidden-size=8",
    "--space.nodes=3",
    "--trainer.epochs=4",
    "--trainer.batch-size=10",
    "--trainer.valid-batch-size=5",
    "--retrain.epochs=2",
    "--retrain.batch-size=10",
    "--retrain.average-from=2",
    "--network.hidden-size=8",
]
ENAS = ["recipes/ptb_cl_enas.py", *TEXT, "--search.updates=2", "--search.samples=2", "--search.derive-samples=3"]
DARTS = ["recipes/ptb_cl_darts.py", *TEXT]
IMAGES = [
    "recipes/nats_cl.py",
    "--preset=smoke",
    "--data=digits",
    "--images.search-images=48",
    "--images.train-images=48",
    "--images.valid-images=24",
    "--images.test-images=24",
    "--trainer.epochs=4",
    "--trainer.batch-size=12",
    "--trainer.valid-batch-size=12",
    "--retrain.epochs=1",
    "--retrain.batch-size=24",
    "--network.channels=4",
]
GPT = [
    "recipes/gpt_cl.py",
    "--preset=smoke",
    "--data=corpus",
    "--text.tokenizer=bpe:280",
    "--text.length=8",
    "--text.search-tokens=600",
    "--text.train-tokens=600",
    "--space.width=8,16",
    "--space.depth=1,2",
    "--space.heads=1,2",
    "--space.mlp=16,24",
    "--space.head-dim=4",
    "--trainer.epochs=4",
    "--retrain.epochs=2",
]
PLAIN = ["--no-curriculum"]


def curriculum(refresh: str, unit: str = "sample") -> list[str]:
    """Flags of a curriculum of three candidates."""
    return ["--curriculum.k=3", f"--curriculum.refresh={refresh}", f"--curriculum.unit={unit}"]


TRAJECTORIES: dict[str, list[str]] = {
    "enas_rnn-enas-epoch-sequence": [*ENAS, *curriculum("epoch", "sequence")],
    "enas_rnn-enas-step-token": [*ENAS, *curriculum("step", "token")],
    "enas_rnn-enas-plain": [*ENAS, *PLAIN],
    "darts_rnn-darts_v1-epoch-token": [*DARTS, *curriculum("epoch", "token")],
    "darts_rnn-darts_v1-plain": [*DARTS, *PLAIN],
    "darts_rnn-darts_v2-step-sequence": [*DARTS, "--search.unrolled", *curriculum("step", "sequence")],
    "gpt-sandwich-epoch-sequence": [*GPT, "--algorithm=sandwich", *curriculum("epoch", "sequence")],
    "gpt-enas-step-token": [*GPT, "--algorithm=enas", "--search.updates=2", *curriculum("step", "token")],
    "nats-darts_v1-epoch": [*IMAGES, "--algorithm=darts_v1", *curriculum("epoch")],
    "nats-darts_v2-plain": [*IMAGES, "--algorithm=darts_v2", *PLAIN],
    "nats-rsps-epoch": [*IMAGES, "--algorithm=rsps", *curriculum("epoch")],
    "nats-gdas-step": [*IMAGES, "--algorithm=gdas", *curriculum("step")],
    "nats-gdas-plain": [*IMAGES, "--algorithm=gdas", *PLAIN],
    "nats-spos-epoch": [*IMAGES, "--algorithm=spos", *curriculum("epoch")],
}
