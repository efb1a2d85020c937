"""Datasets of Hugging Face in and out, and a plain Trainer on one."""

from __future__ import annotations

import datasets
import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Sequence, Value
from transformers import Trainer, TrainingArguments

from hf_genomics import KmerBertConfig, KmerBertForSequenceClassification, KmerTokenizer
from hf_genomics.errors import InputError
from hf_genomics.labelled.columns import Columns
from hf_genomics.labelled.data import LabelledData
from hf_genomics.labelled.sequences import LabelledSequences
from hf_genomics.labelled.tables import iterate_unlabelled, read_labelled

NAN = np.nan


@pytest.fixture(autouse=True)
def no_bars(monkeypatch):
    monkeypatch.setattr(datasets.utils.logging, "is_progress_bar_enabled", lambda: False)


def same(one: LabelledSequences, other: LabelledSequences) -> bool:
    """Whether two sets of examples agree in all but the source."""
    for name, mine in vars(one).items():
        yours = getattr(other, name)
        if name in ("source", "label_column") or (mine is None and yours is None):
            continue
        if isinstance(mine, np.ndarray) or (isinstance(mine, list) and isinstance(mine[0], np.ndarray)):
            pairs = zip(mine, yours, strict=True)
            if not all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs):
                return False
        elif mine != yours:
            return False
    return True


def test_a_dataset_is_read_as_its_table_is(tmp_path):
    frame = pd.DataFrame({"id": ["a", "b"], "sequence": ["ACGT", "GGCCN"], "label": ["x", "y"], "age": [1.5, NAN]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    columns = Columns(id="id", tracks=["age"])
    ours = LabelledSequences.from_dataset(Dataset.from_pandas(frame), columns)
    assert ours.source == "dataset" and same(ours, read_labelled(tmp_path / "t.csv", columns))


def test_names_of_a_class_label_are_the_classes_and_whole_numbers_stay_whole():
    dataset = Dataset.from_dict({"sequence": ["ACGT", "GG"], "label": [1, 0]})
    named = dataset.cast_column("label", ClassLabel(names=["neg", "pos"]))
    found = LabelledSequences.from_dataset(named)
    assert (found.label_names, found.known_labels.tolist()) == (["neg", "pos"], [1, 0])
    assert LabelledSequences.from_dataset(dataset).label_names == ["0", "1"]
    gap = Dataset.from_dict({"sequence": ["ACGT", "GG", "TT"], "label": [1, None, 0]})
    with pytest.raises(InputError, match="dataset: data row 2: the label is missing"):
        LabelledSequences.from_dataset(gap)


@pytest.mark.parametrize(
    ("examples", "columns"),
    [
        (LabelledSequences("t", ["a", "b"], [], np.array([1, 0]), ["neg", "pos"]), Columns()),
        (LabelledSequences("t", ["a", "b"], [], np.array([0.25, -3.5])), Columns()),
        (
            LabelledSequences(
                "t", ["a", "b"], [], np.array([[1, NAN], [0, 1.0]]), ["u", "v"], "multi_label_classification"
            ),
            Columns(labels=["u", "v"]),
        ),
        (
            LabelledSequences(
                "t", ["a", "b"], [], label_names=["0", "1"], nt_labels=[np.array([0, 1, -100, 1]), np.array([1, 0])]
            ),
            Columns(nt_labels="nt_labels"),
        ),
        (
            LabelledSequences(
                "t",
                ["a", "b"],
                [],
                np.array([1, 0]),
                ["neg", "pos"],
                tracks=np.array([[0.1], [NAN]], np.float32),
                track_names=["age"],
                nt_tracks=[np.array([[0.1, 2], [NAN, 3], [4, 5], [6, 7]], np.float32), np.ones((2, 2), np.float32)],
                nt_track_names=["s", "t"],
            ),
            Columns(tracks=["age"], nt_tracks=["s", "t"]),
        ),
    ],
)
@pytest.mark.parametrize("paired", [False, True])
def test_out_and_in_again_gives_the_same(examples, columns, paired):
    examples.sequences.extend(
        [np.frombuffer(b"ACgN", np.uint8), np.frombuffer(b"TT", np.uint8)][: 2 - len(examples.sequences)]
    )
    if paired:
        object.__setattr__(examples, "pairs", examples.sequences[::-1])
    columns = Columns(**{**vars(columns), "id": "id", "pair": "pair" if paired else None})
    dataset = examples.to_dataset()
    assert same(LabelledSequences.from_dataset(dataset, columns), examples)
    shuffled = dataset.select([1, 0])  # an index lies over the rows of the table
    assert LabelledSequences.from_dataset(shuffled, columns).ids == ["b", "a"]


@pytest.mark.parametrize(
    ("rows", "columns", "part"),
    [
        ({"sequence": ["ACGT", "AC-T"], "label": ["a", "b"]}, Columns(), "dataset: data row 2, position 3"),
        ({"sequence": ["ACGT"], "Lable": ["a"]}, Columns(), "dataset: no column 'label'; did you mean 'Lable'"),
        ({"sequence": ["ACGT"], "y": [[0, 1]]}, Columns(nt_labels="y"), "dataset: data row 1, column 'y': 2 labels"),
        (
            {"sequence": ["AC", "AC"], "label": ["a", "b"], "n": ["x", "x"]},
            Columns(id="n"),
            "dataset: data row 2: row 1 has the same id 'x'",
        ),
        ({"sequence": [], "label": []}, Columns(), "dataset: the table has no row"),
    ],
)
def test_what_a_table_may_not_hold_a_dataset_may_not_hold_either(rows, columns, part):
    with pytest.raises(InputError) as caught:
        LabelledSequences.from_dataset(Dataset.from_dict(rows), columns)
    assert part in str(caught.value)


DATASET = Dataset.from_dict({"sequence": ["ACGT", "GG"]})


@pytest.mark.parametrize(
    "source",
    [pd.DataFrame({"sequence": ["ACGT"]}), ["ACGT"], DATASET.to_iterable_dataset(), DatasetDict(train=DATASET)],
)
def test_what_is_neither_a_path_nor_a_dataset_is_an_input_error(source):
    for read in (read_labelled, lambda source: list(iterate_unlabelled(source, Columns()))):
        with pytest.raises(InputError, match=f"dataset: a {type(source).__name__} cannot be read"):
            read(source)


def test_class_labels_in_lists_are_read_by_their_names():
    classes = ClassLabel(names=["exon", "intron"])
    features = Features({"sequence": Value("string"), "y": Sequence(classes)})
    dataset = Dataset.from_dict({"sequence": ["ACGT", "GG"], "y": [[0, 1, -100, 1], [-1, None]]}, features)
    found = LabelledSequences.from_dataset(dataset, Columns(nt_labels="y"))
    assert found.label_names == ["exon", "intron"]
    assert [row.tolist() for row in found.nt_labels] == [[0, 1, -100, 1], [-100, -100]]


def test_a_dataset_goes_where_a_table_goes():
    dataset = Dataset.from_dict({"sequence": ["ACGT", "GGCC"], "label": ["x", "y"]})
    data = LabelledData(train=dataset, test=dataset)
    training = data.require("train", 3, why="")
    assert same(data.require("test", 3, training.task, why=""), training) and data.load("valid", 3) is None


def test_a_dataset_is_read_some_rows_at_a_time():
    dataset = Dataset.from_dict({"sequence": ["ACGT"] * 2500})
    chunks = list(iterate_unlabelled(dataset, Columns()))
    assert [len(chunk) for chunk in chunks] == [1024, 1024, 452] and chunks[2].ids[-1] == "2500"


def test_a_plain_trainer_learns_from_a_mapped_dataset(tmp_path):
    # [the recipe of the documentation: a datasets.Dataset and a plain Trainer]
    random = np.random.default_rng(0)
    sequences = [
        "".join(random.choice(list("ACGT"), 60, p=p)) for p in [(0.1, 0.4, 0.4, 0.1), (0.4, 0.1, 0.1, 0.4)] * 32
    ]
    dataset = Dataset.from_dict({"sequence": sequences, "label": [0, 1] * 32})
    tokenizer = KmerTokenizer(k=3)
    dataset = dataset.map(lambda rows: tokenizer(rows["sequence"]), batched=True, remove_columns="sequence")
    config = KmerBertConfig(k=3, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    arguments = TrainingArguments(
        str(tmp_path), max_steps=30, learning_rate=3e-3, use_cpu=True, disable_tqdm=True, save_strategy="no", seed=0
    )
    model = KmerBertForSequenceClassification(config)
    trainer = Trainer(model, arguments, train_dataset=dataset, processing_class=tokenizer)
    trainer.train()
    logits = trainer.predict(dataset).predictions
    assert (logits.argmax(1) == dataset["label"]).mean() > 0.9
