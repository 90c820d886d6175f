"""Data sets in memory: they give what the same rows give from files, and what is missing is said in one line."""

from dataclasses import replace
from pathlib import Path

import datasets
import pytest
import torch
from made_images import made, picture, records
from tiny_recipe import tiny

from cnas.data import ImageConfig, TextConfig, load_images, load_text
from cnas.errors import UserError
from cnas.runs.config import RunConfig
from cnas.runs.task import load_task
from cnas.training.evaluate import evaluate_network

ROWS = {
    "train": ["the cat sat", " the  dog sat ", None, "a cat\nand a dog"],
    "validation": ["the cat and the bird"],
    "test": ["a dog sat", "the bird sat"],
}
SPLITS = {"train": made(12), "validation": made(6, seed=2), "test": made(6, seed=3)}


def texts(*splits, column="text", rows=ROWS):
    found = {split: {"id": list(range(len(rows[split]))), column: rows[split]} for split in splits}
    return datasets.DatasetDict({split: datasets.Dataset.from_dict(table) for split, table in found.items()})


def images(*splits, column="image", names=("a", "b", "c")):
    features = datasets.Features({column: datasets.Image(), "label": datasets.ClassLabel(names=list(names))})
    return datasets.DatasetDict(
        {
            split: datasets.Dataset.from_dict(
                {column: records(SPLITS[split]), "label": SPLITS[split].labels.tolist()}, features
            )
            for split in splits
        }
    )


def refused(load, *data, **options):
    with pytest.raises(UserError) as caught:
        load(*data, TextConfig() if load is load_text else ImageConfig(), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same_text(one, other):
    assert (one.fingerprint, one.splits, one.vocabulary) == (other.fingerprint, other.splits, other.vocabulary)
    splits = ("train", "validation", "test", "search")
    assert all(torch.equal(getattr(one, split), getattr(other, split)) for split in splits)


def test_text_in_memory_is_the_same_as_in_files(tmp_path):
    for split, lines in ROWS.items():
        (tmp_path / f"{split}.txt").write_text("".join(f"{line or ''}\n" for line in lines))
    files = load_text(str(tmp_path), TextConfig())
    whole = texts(*ROWS)
    found = load_text(whole, TextConfig())
    assert found.name == f"dataset:{files.fingerprint}"
    same_text(found, files)
    same_text(load_text(texts(*ROWS, column="sentence"), TextConfig()), files)
    same_text(load_text(texts(*ROWS, column="lyrics"), TextConfig(text_column="lyrics")), files)
    same_text(load_text(whole["train"], TextConfig(), eval_dataset=texts("validation", "test")), files)
    same_text(load_text(texts("train", "test"), TextConfig(), eval_dataset=whole["validation"]), files)
    renamed = datasets.DatasetDict({"test": whole["test"], "dev": whole["validation"], "train": whole["train"]})
    same_text(load_text(renamed, TextConfig()), files)


def test_rows_that_were_chosen_are_read_in_their_order():
    train = texts("train")["train"].select([3, 0])
    found = load_text(train, TextConfig(), eval_dataset=texts("validation")["validation"])
    assert found.vocabulary.decode(found.train) == "a cat <eos> and a dog <eos> the cat sat <eos>"
    assert (found.test, set(found.splits)) == (None, {"train", "validation"})


def test_images_in_memory_are_the_same_as_in_files(tmp_path):
    whole = images(*SPLITS)
    for split, table in whole.items():
        table.to_parquet(tmp_path / f"{split}.parquet")
    files = load_images(str(tmp_path), ImageConfig())
    for data, evaluated, columns in (
        (whole, None, {}),
        (images(*SPLITS, column="img"), None, {}),
        (images(*SPLITS, column="photo"), None, {"image_column": "photo", "label_column": "label"}),
        (whole["train"], images("validation", "test"), {}),
    ):
        found = load_images(data, ImageConfig(**columns), eval_dataset=evaluated)
        assert (found.fingerprint, found.classes, found.splits) == (files.fingerprint, files.classes, files.splits)
        assert torch.equal(found.test.images, files.test.images)
        assert found.name == f"dataset:{files.fingerprint}"


def test_images_need_one_split_to_evaluate_on():
    halves = load_images(images("train", "test"), ImageConfig())
    assert (len(halves.train), len(halves.validation), len(halves.test)) == (6, 6, 6)
    alone = images("train")["train"]
    untested = load_images(alone, ImageConfig(), eval_dataset=images("validation")["validation"])
    assert (len(untested.train), len(untested.validation), untested.test) == (12, 6, None)


@pytest.mark.parametrize("load", [load_text, load_images])
def test_what_is_no_data_set_is_refused(load):
    whole = texts(*ROWS) if load is load_text else images(*SPLITS)
    assert refused(load, whole["train"]).startswith("train_dataset has no validation split; give eval_dataset")
    stream = whole["train"].to_iterable_dataset()
    assert "train_dataset must have a length" in refused(load, stream)
    assert "eval_dataset must have a length" in refused(load, whole["train"], eval_dataset=stream)
    for wrong in (None, 3, ["the cat"], Path("corpus")):
        assert "must be a name, a path, a Dataset or a DatasetDict, got" in refused(load, wrong)
    assert "eval_dataset must be a name" in refused(load, whole["train"], eval_dataset="corpus")
    del whole["train"]
    assert "train_dataset has no train split" in refused(load, whole)
    name = "pydoc" if load is load_text else "digits"
    assert f"eval_dataset must be none beside data {name}" in refused(load, name, eval_dataset=whole)


def test_missing_columns_and_rows_are_named():
    assert "train_dataset: train has no text column" in (found := refused(load_text, texts(*ROWS, column="lyrics")))
    assert "found ['id', 'lyrics']" in found
    assert "give it one, or eval_dataset" in refused(load_text, texts("train", "test"))
    data = images(*SPLITS)
    assert "has no label column" in refused(load_images, data.remove_columns("label"))
    assert "has no image column" in refused(load_images, data.remove_columns("image"))
    plain = datasets.Dataset.from_dict({"image": [*records(SPLITS["train"])[:2], None], "label": [0, None, 1]})
    whole = {"train": plain, "test": plain}
    assert "train: row 1 (from 0): column label must hold whole numbers, got NoneType" in refused(load_images, whole)
    whole["train"] = datasets.Dataset.from_dict({"image": [*records(SPLITS["train"])[:2], None], "label": [0, 1, 1]})
    assert "train: row 2 (from 0): column image must hold encoded images, got NoneType" in refused(load_images, whole)
    mixed = datasets.DatasetDict(images("train") | images("validation", names=("b", "a", "c")))
    assert "validation must name its classes as train does, got ['b', 'a', 'c']" in refused(load_images, mixed)


def test_pictures_may_be_those_of_pillow():
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    rows = {"image": [picture(image) for image in SPLITS["train"].images], "label": SPLITS["train"].labels.tolist()}
    train = datasets.Dataset.from_dict(rows, features)
    found = load_images({"train": train, "test": train}, ImageConfig())
    assert torch.equal(found.test.images, SPLITS["train"].images)


def test_a_task_measures_the_splits_there_are():
    config = tiny()
    rows = {"train": ["a b c d e f"] * 60, "validation": ["a b c"] * 60}
    task = load_task(config, data=texts("train", rows=rows)["train"], eval_data=texts("validation", rows=rows))
    assert set(task.dataset()["used"]) == {"search", "train", "validation"}
    network = task.config.space.build_network(task.config.space.parse("0 0 0 1"))
    assert set(task.measure(network).figures) == {"valid_perplexity"}
    pictures = replace(RunConfig.from_preset("nats_cl/smoke", "gdas"), images=ImageConfig())
    task = load_task(pictures, data=images("train")["train"], eval_data=images("validation"))
    network = task.config.space.build_network(task.config.space.sample(torch.Generator().manual_seed(0)))
    assert set(task.measure(network).figures) == {"valid_accuracy"}
    with pytest.raises(UserError, match="tokenizer must be none for images"):
        load_task(pictures, tokenizer=object())


@pytest.mark.parametrize("load", [load_text, load_images])
def test_an_object_of_another_type_is_a_type_error_and_the_name_of_an_object_says_what_to_do(load):
    config = TextConfig() if load is load_text else ImageConfig()
    whole = texts(*ROWS) if load is load_text else images(*SPLITS)
    for wrong in (3, whole["train"].to_iterable_dataset()):
        with pytest.raises(TypeError):
            load(wrong, config)
    message = "data 'dataset:0123456789abcdef' was a Dataset of a Python script: give it there, as train_dataset"
    assert refused(load, "dataset:0123456789abcdef") == message


def test_a_column_is_asked_for_where_there_are_columns(tmp_path):
    for split in ROWS:
        (tmp_path / f"{split}.txt").write_text("the cat\n")
    for data in (str(tmp_path), "pydoc"):
        with pytest.raises(UserError, match=r"text_column must be none: data .* has no columns, got 'lyrics'"):
            load_text(data, TextConfig(text_column="lyrics"))


def text_task(**options):
    rows = {"train": ["a b c d e f"] * 60, "validation": ["a b c"] * 60}
    return load_task(
        tiny(), data=texts("train", rows=rows)["train"], eval_data=texts("validation", rows=rows), **options
    )


def test_other_text_is_read_with_the_words_of_the_run(tmp_path):
    task = text_task()
    assert task.config.data == task.data.name == f"dataset:{task.fingerprint}"
    other = datasets.Dataset.from_dict({"text": ["a x", None, "f"] * 20})
    found = task.read(other)
    assert task.data.vocabulary.decode(found[:5]) == "a <unk> <eos> f <eos>"
    assert torch.equal(task.read(datasets.DatasetDict({"test": other})), found)
    for split in ROWS:
        (tmp_path / f"{split}.txt").write_text("a x\nf\n" * (20 if split == "validation" else 1))
    assert torch.equal(task.read(str(tmp_path)), found)
    network = task.config.space.build_network(task.config.space.parse("0 0 0 1"), init_range=0.5)
    figures = evaluate_network(network, task.evaluation(found))
    assert figures["perplexity"] == pytest.approx(torch.tensor(figures["loss"]).exp().item())
    assert figures != (own := evaluate_network(network, task.evaluation()))
    assert own["perplexity"] == task.measure(network).figures["valid_perplexity"]
    assert set(task.measure(network, valid_only=True).figures) == {"valid_perplexity"}
    assert torch.equal(
        task.valid_batches().batch(0, slice(0, 4)).labels, task.search_data().valid.batch(0, slice(0, 4)).labels
    )
    assert len(task.valid_batches(found)) == (len(found) // 4 - 1) // 10
    for wrong, message in (
        (other.rename_column("text", "lyrics"), "eval_dataset: validation has no text column"),
        (datasets.DatasetDict({"train": other}), "eval_dataset has neither a validation nor a test split, found"),
        (datasets.Dataset.from_dict({"text": [" "]}), "eval_dataset has no words"),
        (3, "eval_dataset must be a name, a path, a Dataset or a DatasetDict, got int"),
    ):
        with pytest.raises(UserError, match=message):
            task.read(wrong)


def test_other_images_are_of_the_classes_and_the_size_of_the_run(tmp_path):
    config = replace(RunConfig.from_preset("nats_cl/smoke", "gdas"), images=ImageConfig())
    task = load_task(config, data=images("train")["train"], eval_data=images("validation"))
    whole = images(*SPLITS)
    for split, table in whole.items():
        table.to_parquet(tmp_path / f"{split}.parquet")
    unnamed = whole["validation"].cast_column("label", datasets.Value("int64"))
    for data in (whole["validation"], whole, unnamed, str(tmp_path)):
        assert torch.equal(task.read(data).images, task.data.validation.images)
    one = task.read(unnamed.select([1, 4]))
    network = task.config.space.build_network(task.config.space.sample(torch.Generator().manual_seed(0)))
    figures = evaluate_network(network, task.evaluation(one))
    assert set(figures) == {"loss", "accuracy"}
    assert figures["accuracy"] in (0, 50, 100)
    assert evaluate_network(network, task.evaluation())["accuracy"] == task.measure(network).figures["valid_accuracy"]
    assert task.valid_batches(one).num_units == 2
    small = made(6, (3, 4, 4))
    sized = datasets.Dataset.from_dict({"image": records(small), "label": small.labels.tolist()})
    for wrong, message in (
        (images("validation", names=("b", "a", "c")), "must have the run's classes"),
        (unnamed.select([1]), "eval_dataset has 1 images; at least 2 are needed"),
        (sized, "eval_dataset has images of 4x4 pixels"),
        (unnamed.map(lambda row: {"label": row["label"] + 2}), r"row 1 .* has the label 3; labels must be 0 to 2"),
    ):
        with pytest.raises(UserError, match=message):
            task.read(wrong)
