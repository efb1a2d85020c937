"""Pretraining: what it leaves behind, that it repeats to the bit, and its small functions against plain loops."""

from __future__ import annotations

import json
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer, TrainerControl, TrainerState, TrainingArguments

from hf_genomics import (
    DataCollatorForSpanMasking,
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerTokenizer,
    WindowDataset,
    WindowSampling,
    prepare,
)
from hf_genomics.errors import InputError
from hf_genomics.reports.card_file import check_card
from hf_genomics.runs.callbacks import SetEpoch
from hf_genomics.training.arguments import PretrainingArguments
from hf_genomics.training.pretrain import PretrainingData, choose_packing, load_start, plan_pretraining, pretrain

pytestmark = pytest.mark.usefixtures("empty_pictures")

SPLITS = ("train", "train", "train", "valid", "test")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Five made-up contigs with lower case, stretches of N, and one that is shorter than a k-mer."""
    folder = tmp_path_factory.mktemp("genomes")
    random = np.random.default_rng(0)
    records = []
    for number, length in enumerate((500, 400, 2, 300, 300)):
        letters = random.choice(list("ACGTacgt"), length)
        letters[length // 2 : length // 2 + 20] = "N"
        records.append(f">g{number}\n{''.join(letters)}\n")
    (folder / "genomes.fa").write_text("".join(records))
    rows = [f"g{number}\t{split}\n" for number, split in enumerate(SPLITS)]
    (folder / "splits.tsv").write_text("accession\tsplit\n" + "".join(rows))
    return prepare([str(folder / "genomes.fa")], str(folder / "store"), str(folder / "splits.tsv"))


@pytest.fixture
def run(store, tmp_path, tiny_config):
    """Pretrain the tiny model for a few steps; ``options`` are the trainer's."""

    def call(name="out", data=(), masking=None, windows=None, resume=False, packing=True, **options):
        tokenizer, more = (
            KmerTokenizer(k=3),
            {key: options.pop(key) for key in ("pretrained", "overwrite") if key in options},
        )
        settings = {"max_steps": 6, "per_device_train_batch_size": 8, "learning_rate": 1e-3, "logging_steps": 2}
        settings |= {"use_cpu": True, "save_strategy": "no", "disable_tqdm": True, "seed": 1}
        data = {"store": str(store.path), "valid_windows": 5} | dict(data)
        return pretrain(
            PretrainingData(**data),
            PretrainingArguments(str(tmp_path / name), packing=packing, **(settings | options)),
            tokenizer,
            KmerBertConfig(**{key: value for key, value in tiny_config.to_dict().items() if key in SIZES}),
            masking or DataCollatorForSpanMasking(tokenizer, span=3, start_rate=0.05, seed=1),
            windows or WindowSampling(length=60, min_length=10, rc_probability=0.5),
            resume=resume,
            **more,
        )

    return call


SIZES = (
    "k hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings "
    "hidden_dropout_prob attention_probs_dropout_prob"
).split()


def weights(folder):
    return AutoModelForMaskedLM.from_pretrained(folder).state_dict()


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_leaves_model_tokenizer_numbers_log_and_picture(run, tmp_path):
    metrics = run()
    left = {path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".py"}  # besides the code
    assert left == {
        *("config.json", "model.safetensors", "tokenizer_config.json"),
        *("metrics.json", "metrics.jsonl", "trainer_state.json", "loss.png", "run.json"),
        *("settings.json", "README.md"),
    }
    check_card(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    log = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    assert [entry["step"] for entry in log if "loss" in entry] == [2, 4, 6]


@pytest.mark.parametrize("mode", [pytest.param("fixed", marks=pytest.mark.slow), "cuts", "mixed", "tiles"])
def test_every_way_to_lay_windows_trains_and_validates(run, mode):
    seen = []
    metrics = run(masking=recorder(seen), windows=WindowSampling(mode, 60), max_steps=-1, num_train_epochs=1)
    assert math.isfinite(metrics["train_loss"]) and math.isfinite(metrics["eval_loss"])
    trained = [(index, letters) for _, index, letters in seen[8:-5]]  # for the memory, and for validation
    assert len({index for index, _ in trained}) == len(trained) > 5  # less than a step is left for another epoch
    lengths = {len(letters) for _, letters in trained}
    assert lengths == {60} if mode in ("fixed", "tiles") else len(lengths) > 3


def test_the_numbers_are_there_and_finite(run):
    metrics = run()
    assert {"train_loss", "eval_loss", "eval_masked_token_accuracy", "num_input_tokens_seen", "parameters"} <= set(
        metrics
    )
    assert math.isfinite(metrics["train_loss"]) and math.isfinite(metrics["eval_loss"])
    assert metrics["train_loss"] == pytest.approx(math.log(69), abs=0.7)  # a guess among all tokens
    assert 0 <= metrics["eval_masked_token_accuracy"] <= 1
    assert "spans of 3 tokens" in metrics["masking"]


def test_the_model_is_loaded_by_the_auto_classes(run, tmp_path):
    metrics = run()
    model, tokenizer = (kind.from_pretrained(tmp_path / "out") for kind in (AutoModelForMaskedLM, AutoTokenizer))
    assert (type(model).__name__, type(tokenizer).__name__) == ("KmerBertForMaskedLM", "KmerTokenizer")
    assert sum(parameter.numel() for parameter in model.parameters()) == metrics["parameters"]
    assert model(**tokenizer("ACGTACG", return_tensors="pt")).logits.shape == (1, 7, 69)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(run, tmp_path):
    run("one"), run("two"), run("three", seed=2)
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert not same(weights(tmp_path / "one"), weights(tmp_path / "three"))


def test_a_resumed_run_ends_with_the_weights_of_one_that_was_not_stopped(run, tmp_path):
    options = {"max_steps": 8, "per_device_train_batch_size": 4, "save_strategy": "steps", "save_steps": 3}
    run("whole", **options)  # four steps are an epoch: stopped within the first, ended with the second
    shutil.copytree(tmp_path / "whole" / "checkpoint-3", tmp_path / "stopped" / "checkpoint-3")
    run("stopped", resume=True, **options)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    state = json.loads((tmp_path / "stopped" / "trainer_state.json").read_text())
    assert state["global_step"] == 8 and state["epoch"] == 2


def test_training_continues_from_a_model_and_is_resumed_exactly(run, tmp_path):
    start = str(tmp_path / "start")
    run("start", max_steps=2)
    run("still", pretrained=start, max_steps=1, learning_rate=0.0)
    assert same(weights(tmp_path / "start"), weights(tmp_path / "still"))
    assert json.loads((tmp_path / "still" / "run.json").read_text())["base_model"] == "start"
    options = {"pretrained": start, "max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    run("whole", **options)
    assert not same(weights(tmp_path / "start"), weights(tmp_path / "whole"))
    shutil.copytree(tmp_path / "whole" / "checkpoint-2", tmp_path / "stopped" / "checkpoint-2")
    with pytest.raises(InputError, match="pretrained was"):
        run("stopped", resume=True, **(options | {"pretrained": None}))
    run("stopped", resume=True, **options)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Folder of a masked-LM of 3-mers at stride 2 with its tokenizer, and of a classifier."""
    folder, sizes = tmp_path_factory.mktemp("small"), {"num_hidden_layers": 1, "num_attention_heads": 2}
    config = KmerBertConfig(k=3, stride=2, hidden_size=16, intermediate_size=16, max_position_embeddings=40, **sizes)
    KmerBertForMaskedLM(config).half().save_pretrained(folder / "masked")
    KmerBertForSequenceClassification(config).save_pretrained(folder / "tuned")
    for name in ("masked", "tuned"):
        KmerTokenizer(k=3, stride=2).save_pretrained(folder / name)
    return folder


def test_a_model_to_continue_from_keeps_its_sizes_and_takes_another_dropout(small):
    tokenizer, model = load_start(str(small / "masked"), KmerTokenizer(), KmerBertConfig(hidden_dropout_prob=0.3))
    assert (tokenizer.k, tokenizer.stride, model.config.hidden_size) == (3, 2, 16)
    assert model.config.hidden_dropout_prob == 0.3 and model.dtype == torch.float32


@pytest.mark.parametrize(
    ("folder", "k", "sizes", "named"),
    [
        ("masked", 4, {}, ["tokenizer.k is 4", "has 3"]),
        ("masked", 3, {"hidden_size": 32, "num_attention_heads": 4}, ["model.hidden_size is 32", "has 16"]),
        ("masked", 3, {"position_embedding_type": "rotary"}, ["model.position_embedding_type is rotary", "absolute"]),
        ("tuned", 3, {}, ["KmerBertForSequenceClassification"]),
        ("nowhere", 3, {}, ["nowhere"]),
    ],
)
def test_options_that_contradict_the_model_to_continue_from_are_refused(small, folder, k, sizes, named):
    with pytest.raises(InputError) as error:
        load_start(str(small / folder), KmerTokenizer(k=k), KmerBertConfig(k=k, **sizes))
    assert all(part in str(error.value) for part in named), error.value


def test_resuming_where_nothing_was_saved_is_refused_and_writes_nothing(run, tmp_path):
    with pytest.raises(InputError, match="no checkpoint to resume from"):
        run(resume=True)
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="no checkpoint to resume from"):
        run(resume=True)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_finished_run_is_replaced_only_when_asked(run, tmp_path):
    run()
    before = weights(tmp_path / "out")
    with pytest.raises(InputError, match="holds a finished run"):
        run(seed=2)
    assert same(before, weights(tmp_path / "out"))
    run(seed=2, overwrite=True)
    assert not same(before, weights(tmp_path / "out"))


def test_an_output_folder_that_is_a_file_is_refused(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        run("file")


def test_without_a_validation_split_nothing_is_validated(run):
    assert not any(name.startswith("eval") for name in run(data={"valid_split": None}))
    with pytest.raises(InputError, match="data.valid_split is null"):
        run("two", data={"valid_split": None}, eval_strategy="steps")


def test_all_contigs_are_taken_where_no_training_split_is_named(run, store):
    seen = []
    run(data={"train_split": None}, masking=recorder(seen), max_steps=-1, num_train_epochs=1)
    training = WindowDataset(store, WindowSampling(length=60, min_length=10, rc_probability=0.5))
    left_over = len(training) + 8 + 5 - len(rows_of(seen, epoch=0))  # for the memory, and for validation
    assert 0 <= left_over < 8  # less than a step


def test_validation_in_between_is_logged(run, tmp_path):
    run(eval_strategy="steps", eval_steps=3)
    log = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    assert [entry["step"] for entry in log if "eval_masked_token_accuracy" in entry] == [3, 6]


def test_the_last_evaluation_is_of_the_trained_model_and_in_the_log(run, tmp_path):
    metrics = run(eval_strategy="steps", eval_steps=4)
    log = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    evaluated = [entry for entry in log if "eval_loss" in entry]
    assert [entry["step"] for entry in evaluated] == [4, 6]
    assert metrics["eval_loss"] == evaluated[-1]["eval_loss"]


def test_a_tokenizer_that_does_not_fit_the_model_is_refused(store, tmp_path):
    tokenizer = KmerTokenizer(k=4)
    with pytest.raises(InputError, match="do not belong together"):
        pretrain(
            PretrainingData(str(store.path)),
            TrainingArguments(str(tmp_path / "out"), use_cpu=True),
            tokenizer,
            KmerBertConfig(k=3),
            DataCollatorForSpanMasking(tokenizer),
            WindowSampling(length=60),
        )
    assert not (tmp_path / "out").exists()


def recorder(seen):
    """A collator that writes down the rows it is given."""

    class Recorder(DataCollatorForSpanMasking):
        def __call__(self, rows):
            seen.extend((row["epoch"], row["window_index"], bytes(row["sequence"])) for row in rows)
            return super().__call__(rows)

    return Recorder(KmerTokenizer(k=3), span=3, start_rate=0.05)


def rows_of(seen, epoch):
    return [row for row in seen if row[0] == epoch]


def test_every_epoch_shows_every_window_number_once_with_other_letters(run):
    seen, alone = [], {"per_device_train_batch_size": 1}
    run(masking=recorder(seen), data={"valid_split": None}, max_steps=-1, num_train_epochs=3, **alone)
    del seen[0]  # for the memory
    first, second, third = ({index: letters for _, index, letters in rows_of(seen, epoch)} for epoch in range(3))
    assert len(seen) == 3 * len(first)
    assert sorted(first) == sorted(second) == sorted(third) == list(range(len(first)))
    assert [index for index in first if first[index] == second[index] or second[index] == third[index]] == []


@pytest.mark.parametrize(("epoch", "told"), [(0, 0), (None, 0), (1.0, 1), (2.5, 2)])
def test_set_epoch_tells_the_data_set_the_epoch_that_begins(store, epoch, told):
    windows = WindowDataset(store, WindowSampling(length=60, min_length=10))
    SetEpoch(windows).on_epoch_begin(None, TrainerState(epoch=epoch), TrainerControl())
    assert windows.epoch == told


def test_a_split_whose_contigs_are_shorter_than_every_window_is_refused(tmp_path, run):
    (tmp_path / "short.fa").write_text(">a\nAC\n>b\nACGTACGTACGT\n")
    pd.DataFrame({"accession": ["a", "b"], "split": ["train", "valid"]}).to_csv(tmp_path / "s.csv", index=False)
    prepare([str(tmp_path / "short.fa")], str(tmp_path / "store"), str(tmp_path / "s.csv"))
    with pytest.raises(InputError, match="lower windows.min_length"):
        run(data={"store": str(tmp_path / "store")})


def packed(pack_to):
    return DataCollatorForSpanMasking(KmerTokenizer(k=3), span=3, start_rate=0.05, seed=1, pack_to=pack_to)


@pytest.mark.slow
def test_packed_rows_train_like_padded_ones_with_hardly_a_token_of_padding(run, tmp_path):
    losses, padding = {}, {}
    for name, options in {"padded": {"packing": False}, "row": {}, "rows": {"masking": packed(200)}}.items():
        run(name, **options)
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        losses[name] = [line["loss"] for line in lines if "loss" in line]
        padding[name] = [line["padding_share"] for line in lines if "loss" in line]
    assert losses["row"] == pytest.approx(losses["padded"], abs=1e-4) and len(losses["row"]) == 3
    assert losses["rows"] == pytest.approx(losses["padded"], abs=1e-4)
    assert set(padding["row"]) == {0.0} and min(padding["padded"]) > 0


@pytest.mark.parametrize(
    ("trainer", "rows"),
    [({}, 0), ({"torch_compile": True}, 60), ({"n_gpu": 2}, 60)],
    ids=["one row", "compiled", "several GPUs in a process"],
)
def test_a_batch_is_one_row_but_where_rows_must_be_shared_out_or_masked(trainer, rows):
    options = SimpleNamespace(**{"packing": True, "torch_compile": False, "n_gpu": 1} | trainer)
    assert choose_packing(packed(None), options, 60).pack_to == rows
    assert choose_packing(packed(80), options, 60).pack_to == 80
    options.packing = False
    assert choose_packing(packed(None), options, 60).pack_to is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masking": packed(5)}, r"masking.pack_to \(5\) is less than the 60 tokens of a window"),
        ({"packing": False, "masking": packed(0)}, r"trainer\.packing is false.*masking\.pack_to"),
    ],
)
def test_packing_that_cannot_be_is_refused(run, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        run("x", **options)
    assert not (tmp_path / "x").exists()


def test_a_plan_builds_everything_and_writes_nothing(run, store, tmp_path, tiny_config):
    tokenizer = KmerTokenizer(k=3)
    plan = plan_pretraining(
        PretrainingData(str(store.path)),
        TrainingArguments(str(tmp_path / "out"), use_cpu=True, max_steps=2, per_device_train_batch_size=4),
        tokenizer,
        KmerBertConfig(**{key: value for key, value in tiny_config.to_dict().items() if key in SIZES}),
        packed(None),
        WindowSampling(length=60, min_length=10),
    )
    assert list(tmp_path.iterdir()) == []
    assert (plan.trainer.packing, plan.trainer.on_nonfinite, plan.masking.pack_to) == (True, "stop", 0)
    assert len(plan.training) > 0 and plan.validation is not None and plan.network.num_parameters() > 0


@pytest.mark.parametrize(
    ("old", "value"), [("schedule_steps", 9), ("packing", False), ("peak_tflops", 1.0), ("on_nonfinite", "skip_batch")]
)
def test_old_keys_of_a_run_reach_the_trainer_with_a_warning(store, tmp_path, monkeypatch, old, value):
    seen = []
    monkeypatch.setattr("hf_genomics.training.pretrain.run_pretraining", lambda plan: seen.append(plan.trainer) or {})
    tokenizer, plain = KmerTokenizer(k=3), TrainingArguments(str(tmp_path / "out"), use_cpu=True, max_steps=6)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    sections = (tokenizer, KmerBertConfig(k=3, **sizes), packed(None), WindowSampling(length=60, min_length=10))
    with pytest.warns(FutureWarning, match=rf"'{old}' is called 'trainer\.{old}'"):
        pretrain(PretrainingData(str(store.path)), plain, *sections, **{old: value})
    assert getattr(seen[0], old) == value
