"""The Trainer of pretraining: schedules, validation scores, the best checkpoint, the record of a run."""

from __future__ import annotations

import collections
import json
import logging
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, Trainer, TrainingArguments

from hf_genomics import (
    DataCollatorForSpanMasking,
    GenomeStore,
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerTokenizer,
    WindowDataset,
    WindowSampling,
    prepare,
)
from hf_genomics.errors import InputError
from hf_genomics.evaluation.masked_scores import SCORES, count_batch
from hf_genomics.genomes.order import EpochOrder
from hf_genomics.runs.flops import attention_pairs, training_flops
from hf_genomics.training import masked_trainer
from hf_genomics.training import pretrain as pretraining
from hf_genomics.training.arguments import check_best_metric
from hf_genomics.training.pretrain import PretrainingData, pretrain

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
SIZES |= {"max_position_embeddings": 64, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Three made-up contigs of 400 nt to train on, one to validate on."""
    folder, random = tmp_path_factory.mktemp("genomes"), np.random.default_rng(0)
    (folder / "g.fa").write_text("".join(f">g{n}\n{''.join(random.choice(list('ACGT'), 400))}\n" for n in range(4)))
    splits = "".join(f"g{number}\t{'valid' if number == 3 else 'train'}\n" for number in range(4))
    (folder / "splits.tsv").write_text("accession\tsplit\n" + splits)
    return str(prepare([str(folder / "g.fa")], str(folder / "store"), str(folder / "splits.tsv")).path)


@pytest.fixture
def run(store, tmp_path, monkeypatch):
    """Pretrain a tiny model; ``options`` are the trainer's. The last picture would take half of the time."""
    monkeypatch.setattr(pretraining, "plot_loss", lambda *args: None)

    def call(name="out", masking=None, verb=(), data=(), **options):
        tokenizer = KmerTokenizer(k=3)
        settings = {"max_steps": 6, "per_device_train_batch_size": 4, "learning_rate": 1e-2, "logging_steps": 1}
        settings |= {"use_cpu": True, "save_strategy": "no", "disable_tqdm": True, "seed": 1}
        return pretrain(
            PretrainingData(store, valid_windows=12, **dict(data)),
            TrainingArguments(str(tmp_path / name), **(settings | options)),
            tokenizer,
            KmerBertConfig(k=3, **SIZES),
            masking or DataCollatorForSpanMasking(tokenizer, span=4, start_rate=0.05),
            WindowSampling(length=60, min_length=30),
            **dict(verb),
        )

    return call


@pytest.fixture
def log_of(tmp_path):
    """The log of a run."""

    def call(name="out", key="loss"):
        log = json.loads((tmp_path / name / "trainer_state.json").read_text())["log_history"]
        return [entry for entry in log if key in entry]

    return call


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# learning rates


def test_a_schedule_longer_than_the_run_is_cut_off(run, log_of):
    """The paper's way: a warm-up over 5 % of 200k steps, stopped at 100k; here 20 % of 20 steps, stopped at 6."""
    run("long", verb={"schedule_steps": 20}, warmup_steps=0.2, lr_scheduler_type="linear")
    rates = [entry["learning_rate"] for entry in log_of("long")]
    expected = [1e-2 * (step / 4 if step < 4 else (20 - step) / 16) for step in range(6)]
    assert rates == pytest.approx(expected)


def test_a_schedule_is_as_long_as_the_run_by_default(run, log_of):
    run(warmup_steps=0.5, lr_scheduler_type="linear")
    assert [entry["learning_rate"] for entry in log_of()] == pytest.approx([1e-2 * x / 3 for x in (0, 1, 2, 3, 2, 1)])


@pytest.mark.parametrize("options", [{}, {"max_steps": -1, "num_train_epochs": 2}])
def test_a_schedule_shorter_than_the_run_is_refused(run, options):
    with pytest.raises(InputError, match=r"schedule_steps \(5\).* \d+ steps"):
        run(verb={"schedule_steps": 5}, **options)


def test_biases_and_layer_norms_are_not_decayed(tmp_path):
    model = KmerBertForMaskedLM(KmerBertConfig(k=3, **SIZES))
    trainer = Trainer(model, TrainingArguments(str(tmp_path), use_cpu=True, weight_decay=0.01))
    decayed = set(trainer.get_decay_parameter_names(model))
    kept = {name for name, _ in model.named_parameters()} - decayed
    assert kept == {name for name, _ in model.named_parameters() if "LayerNorm" in name or name.endswith("bias")}
    assert len(kept) > 10 and {name.split(".")[-1] for name in decayed} == {"weight"}
    groups = trainer.create_optimizer().param_groups
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0]


# doses by step


@pytest.mark.parametrize(("batch", "accumulation", "workers"), [(4, 1, 0), (1, 4, 2)])
def test_the_dose_rises_at_its_step_however_windows_are_fetched(store, run, tmp_path, batch, accumulation, workers):
    """The masked share of every step is that of its windows masked one by one at the rate of that step."""
    masking = DataCollatorForSpanMasking(KmerTokenizer(3), span=1, start_rate=0.02, schedule={3: 0.9, 7: 0.3})
    options = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
    run(masking=masking, max_steps=9, dataloader_num_workers=workers, data={"valid_split": None}, **options)
    shares = [line["masked_share"] for line in lines_of(tmp_path / "out") if "loss" in line]
    genomes = GenomeStore(store)
    windows = WindowDataset(genomes, WindowSampling(length=60, min_length=30), genomes.select("train"), seed=1)
    order, expected = EpochOrder(len(windows), batch=4, seed=1), []
    for step in range(9):
        epoch, rows = order.rows_of_step(step)
        windows.set_epoch(epoch)
        rate = 0.02 if step < 3 else 0.9 if step < 7 else 0.3
        collate = DataCollatorForSpanMasking(KmerTokenizer(3), span=1, start_rate=rate)
        labels = [collate([windows[row]])["labels"][0, 1:-1] for row in rows[0]]
        expected.append(sum(int((each != -100).sum()) for each in labels) / sum(map(len, labels)))
    assert order.steps_per_epoch < 9 and shares == pytest.approx(expected)


def test_rows_know_their_step_whoever_asks(store):
    windows = WindowDataset(GenomeStore(store), WindowSampling(length=60, min_length=30))
    order = EpochOrder(len(windows), batch=2, accumulation=2, processes=2, seed=3)
    windows.step_of_rows = order.step_of_rows
    for step in range(2 * order.steps_per_epoch):
        for process in range(2):
            epoch, rows = order.rows_of_step(step, process)
            windows.set_epoch(epoch)
            assert [row["step"] for row in windows.__getitems__(rows.reshape(-1).tolist())] == [step] * 4
    windows.step_of_rows = None
    assert "step" not in windows[0]


# speed


def lines_run(call):
    """Count the executed lines of the package."""
    counted = collections.Counter()

    def trace(frame, event, _):
        if "hf_genomics/" not in frame.f_code.co_filename:
            return None
        counted[event] += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return counted["line"]


@pytest.mark.parametrize("pack_to", [None, 0, 400])
@pytest.mark.parametrize(("span", "stride"), [(6, 1), (3, 3), (1, 6)])
def test_no_line_of_python_runs_for_each_token_from_the_store_to_the_counts(store, span, stride, pack_to):
    genomes, tokenizer = GenomeStore(store), KmerTokenizer(k=6, stride=stride)
    collate = DataCollatorForSpanMasking(tokenizer, span=span, hidden_fraction=0.1, pack_to=pack_to)
    lines = {}
    for length in (80, 320):
        windows = WindowDataset(genomes, WindowSampling(length=length, min_length=40, rc_probability=0.5), size=64)

        def step(windows=windows):
            batch = collate(windows.__getitems__(range(64)))
            count_batch(batch["input_ids"], batch["labels"], tokenizer, packed=pack_to is not None)
            position = batch.get("position_ids", torch.arange(batch["input_ids"].shape[1]))
            attention_pairs(KmerBertConfig(), position, batch["attention_mask"])

        step()
        lines[length] = lines_run(step)
    assert 100 < lines[80] and lines[320] < 1.5 * lines[80], "four times the tokens"


# resuming


def test_a_run_stopped_within_its_schedules_goes_on_as_if_it_had_not_been(run, log_of, tmp_path):
    """Stopped by its own max_steps; the dose rises after that, and the windows now come from workers."""
    masking = DataCollatorForSpanMasking(KmerTokenizer(3), span=4, start_rate=0.02, schedule={5: 0.3})
    options = {"save_strategy": "steps", "save_steps": 4, "warmup_steps": 0.2, "lr_scheduler_type": "linear"}
    run("whole", masking, {"schedule_steps": 20}, max_steps=7, **options)
    run("parts", masking, {"schedule_steps": 20}, max_steps=4, **options)
    with open(tmp_path / "parts" / "metrics.jsonl", "a") as file:
        file.write('{"step": 5, "loss": 1}\n{"step": 6, "lo')  # of a process that was killed while writing
    resumed = {"schedule_steps": 20, "resume": True}
    with pytest.raises(InputError, match="schedule_steps"):
        run("parts", masking, resumed | {"schedule_steps": 30}, max_steps=7, **options)
    run("parts", masking, resumed, max_steps=7, dataloader_num_workers=2, **options)
    assert [entry["loss"] for entry in log_of("parts")] == [entry["loss"] for entry in log_of("whole")]
    one, other = (AutoModelForMaskedLM.from_pretrained(tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert all(one[name].equal(other[name]) for name in one)
    shares = []
    for name in ("whole", "parts"):
        lines = [line for line in lines_of(tmp_path / name) if "loss" in line]
        shares.append([(line["step"], line["masked_share"]) for line in lines])
    assert shares[0] == shares[1] and len(shares[0]) == 7


# scores, and the best model


def test_scores_of_hidden_nucleotides_are_logged_while_it_trains(run, log_of):
    metrics = run(eval_strategy="steps", eval_steps=2)
    evaluated = log_of(key="eval_loss")
    assert [entry["step"] for entry in evaluated] == [2, 4, 6]
    for entry in evaluated:
        assert 0 <= entry["eval_masked_nucleotide_accuracy"] <= 1 and entry["eval_hidden_nucleotides"] > 0
        assert 3 < entry["eval_nucleotide_perplexity"] < 8
    assert metrics["eval_nucleotide_perplexity"] == evaluated[-1]["eval_nucleotide_perplexity"]
    assert len({entry["eval_hidden_nucleotides"] for entry in evaluated}) == 1, "the same masks in every evaluation"


def test_a_validation_computes_logits_of_masked_tokens_alone(run, monkeypatch):
    seen, score = [], masked_trainer.score_batch
    monkeypatch.setattr(masked_trainer, "score_batch", lambda *args: seen.append((args[1], args[2])) or score(*args))
    run(max_steps=1)
    assert seen and all(logits.shape[:-1] == (int((labels != -100).sum()),) for labels, logits in seen)


def test_scores_do_not_depend_on_the_batch_they_are_computed_in(run):
    one, other = (run(name, per_device_eval_batch_size=size) for name, size in (("one", 12), ("five", 5)))
    for score in ("loss", "masked_token_accuracy", "masked_nucleotide_accuracy", "nucleotide_perplexity"):
        assert one[f"eval_{score}"] == pytest.approx(other[f"eval_{score}"], rel=1e-5)


@pytest.mark.slow
def test_two_processes_score_and_count_what_one_does(start, tmp_path):
    """13 windows in batches of 3: the last ones are fewer, and processes must not count windows twice."""
    options = {"valid_split": "valid", "eval_strategy": "steps", "eval_steps": 2, "per_device_eval_batch_size": 3}
    options |= {"max_steps": 4, "logging_steps": 1, "save_strategy": "no", "dropout": 0.0}
    for processes in (1, 2):
        code, text = start(f"{processes}", processes, per_device_train_batch_size=4 // processes, **options)
        assert code in (0, [0, 0]), text
    alone, together = (lines_of(tmp_path / name) for name in ("1", "2"))
    compared = (
        "step loss masked_share hidden_share eval_loss eval_nucleotide_perplexity eval_hidden_nucleotides".split()
    )
    for one, other in zip(alone, together, strict=True):
        for name in set(compared) & set(one):
            assert one[name] == pytest.approx(other[name], abs=1e-4), name
        if "mfu" in one:  # of the peaks of all processes together, 1 TFLOP/s each here
            assert one["mfu"] == pytest.approx(one["tflops_per_second"])
            assert other["mfu"] == pytest.approx(other["tflops_per_second"] / 2)
            operations = [line["tflops_per_second"] / line["tokens_per_second"] for line in (one, other)]
            assert operations[0] == pytest.approx(operations[1])
    assert sum("eval_loss" in line for line in alone) == 2 and alone[0]["masked_share"] > 0


def test_the_best_checkpoint_is_kept_and_left_behind(run, log_of, tmp_path):
    options = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2}
    options |= {"load_best_model_at_end": True, "metric_for_best_model": "nucleotide_perplexity", "save_total_limit": 1}
    metrics = run(max_steps=8, learning_rate=0.05, **options)
    scores = {entry["step"]: entry["eval_nucleotide_perplexity"] for entry in log_of(key="eval_loss")}
    step = min(scores, key=lambda each: (scores[each], each))
    assert metrics["eval_nucleotide_perplexity"] == scores[step] and len(scores) == 4
    left, kept = (
        AutoModelForMaskedLM.from_pretrained(folder).state_dict()
        for folder in (tmp_path / "out", tmp_path / "out" / f"checkpoint-{step}")
    )
    assert all(left[name].equal(kept[name]) for name in left)


@pytest.mark.parametrize(
    ("metric", "more_is_better"),
    [("loss", False), ("eval_masked_nucleotide_accuracy", True), ("nucleotide_perplexity", False)],
)
def test_the_direction_of_a_metric_is_known(tmp_path, metric, more_is_better):
    options = {"metric_for_best_model": metric, "eval_strategy": "steps", "eval_steps": 1, "use_cpu": True}
    arguments = TrainingArguments(str(tmp_path), **options)
    check_best_metric(arguments, SCORES, None)
    assert arguments.greater_is_better is more_is_better


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric_for_best_model": "masked_nucleotid_accuracy"}, "did you mean 'masked_nucleotide_accuracy'"),
        ({"metric_for_best_model": "eval_f1"}, "no metric 'eval_f1'.*masked_token_accuracy"),
        ({"metric_for_best_model": "eval_loss"}, "set trainer.eval_strategy"),
    ],
)
def test_an_unknown_metric_is_refused_before_the_first_step(run, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        run(**options)
    assert not (tmp_path / "out").exists()


def test_the_best_model_needs_windows_to_validate_on(run):
    with pytest.raises(InputError, match="data.valid_split is null"):
        run(data={"valid_split": None}, metric_for_best_model="loss")


# the record of a run


def test_every_line_of_the_log_is_in_metrics_jsonl_with_speed_and_shares(run, log_of, tmp_path):
    masking = DataCollatorForSpanMasking(KmerTokenizer(3), span=6, hidden_fraction=0.2)
    run(masking=masking, eval_strategy="steps", eval_steps=3, max_steps=8, per_device_train_batch_size=14)
    lines = lines_of(tmp_path / "out")
    trained = [line for line in lines if "loss" in line]
    assert [(line["step"], line["loss"]) for line in trained] == [(entry["step"], entry["loss"]) for entry in log_of()]
    assert [line["step"] for line in lines if "eval_loss" in line] == [3, 6, 8]
    for line in trained:
        assert line["tokens_per_second"] > 0 and line["nt_per_second"] > 0 and line["padding_share"] == 0
        assert 0 < line["hidden_share"] < line["masked_share"] < 0.8 and line["eta_seconds"] >= 0
        assert line["mfu"] > 0 and line["tflops_per_second"] > 0
    assert trained[-1]["eta_seconds"] == 0
    assert np.mean([line["hidden_share"] for line in trained]) == pytest.approx(0.2, abs=0.06)
    assert not any("tokens_per_second" in entry for entry in log_of()), "the log of a run repeats to the bit"


def test_an_evaluation_at_the_start_does_not_count_as_time_of_the_first_steps(run, tmp_path, monkeypatch):
    seconds = []
    original = masked_trainer.speed_and_shares
    monkeypatch.setattr(masked_trainer, "speed_and_shares", lambda *call: seconds.append(call[1]) or original(*call))
    run(max_steps=1, eval_on_start=True)
    assert [line["step"] for line in lines_of(tmp_path / "out") if "eval_loss" in line][0] == 0
    assert len(seconds) == 1 and seconds[0] > 1e-6  # not the lower limit, 1e-9


def test_the_time_left_is_measured_by_the_steps_of_this_process(run, tmp_path, monkeypatch):
    asked = []

    def seconds_left(*call):
        asked.append(call)
        return 100.0 * call[2]

    monkeypatch.setattr(masked_trainer, "seconds_left", seconds_left)
    options = {"data": {"valid_split": None}, "save_strategy": "steps", "save_steps": 4}
    run(max_steps=4, **options)
    run(verb={"resume": True}, max_steps=6, **options)
    assert [call[1:] for call in asked] == [(1, 3), (2, 2), (3, 1), (4, 0), (1, 1), (2, 0)]  # steps done, steps left
    assert all(0 < one[0] < next[0] for one, next in zip(asked[:3], asked[1:4], strict=True)), "seconds since it began"
    lines = [line for line in lines_of(tmp_path / "out") if "loss" in line]
    assert [line["eta_seconds"] for line in lines] == [300, 200, 100, 0, 100, 0]


def test_the_curves_are_drawn_during_a_run_and_each_line_is_logged_once(run, monkeypatch, caplog):
    drawn = []
    caplog.set_level(logging.INFO, "hf_genomics")
    monkeypatch.setattr(masked_trainer, "PICTURE_SECONDS", 0.0)
    monkeypatch.setattr(masked_trainer, "plot_loss", lambda history, path: drawn.append((len(history), path.name)))
    run(max_steps=3)
    assert [name for _, name in drawn] == ["loss.png"] * len(drawn) and len(drawn) >= 3
    assert [count for count, _ in drawn] == sorted(count for count, _ in drawn)
    assert sum("step 1: loss" in record.message for record in caplog.records) == 1


def test_the_mfu_is_the_share_of_a_given_or_measured_peak_and_is_logged(run, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "hf_genomics")
    run("given", verb={"peak_tflops": 2.0}, max_steps=2)
    monkeypatch.setattr(masked_trainer, "measure_peak", lambda device, dtype: 3e12)
    run("measured", max_steps=2)
    for name, peak in (("given", 2), ("measured", 3)):
        for line in lines_of(tmp_path / name):
            if "mfu" in line:
                assert line["mfu"] == pytest.approx(line["tflops_per_second"] / peak)
    text = caplog.text
    assert "2 TFLOP/s for each process (trainer.peak_tflops)" in text and "3 TFLOP/s, measured" in text
    assert text.count(" left\n") == 2 * 2, "a line of speed for every line of loss"


def test_operations_are_those_of_the_windows_of_a_step(store, run, tmp_path, monkeypatch):
    # pairs in a last layer of selected tokens would be an estimate
    monkeypatch.setattr(masked_trainer, "selects_in_last_layer", lambda *_: False)
    run(verb={"peak_tflops": 1.0}, max_steps=1, data={"valid_split": None}, per_device_train_batch_size=5)
    (line,) = (line for line in lines_of(tmp_path / "out") if "mfu" in line)
    genomes = GenomeStore(store)
    windows = WindowDataset(genomes, WindowSampling(length=60, min_length=30), genomes.select("train"), seed=1)
    rows = EpochOrder(len(windows), batch=5, seed=1).rows_of_step(0)[1][0]
    tokens = windows.places(rows)[1] - 3 + 1 + 2
    predicted = round(line["masked_share"] * (tokens - 2).sum())
    expected = training_flops(KmerBertConfig(k=3, **SIZES), tokens.sum(), (tokens**2).sum(), predicted)
    assert 1e12 * line["tflops_per_second"] / line["tokens_per_second"] == pytest.approx(expected / tokens.sum())


@pytest.mark.parametrize("peak", [0, -1.0, float("nan")])
def test_a_peak_that_is_not_positive_is_refused(run, peak):
    with pytest.raises(InputError, match="peak_tflops must be above 0"):
        run(verb={"peak_tflops": peak})


def test_nothing_is_reported_to_services_by_default(tmp_path):
    assert TrainingArguments(str(tmp_path), use_cpu=True).report_to == []
