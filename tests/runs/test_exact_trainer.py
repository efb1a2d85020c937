"""Resumed and killed runs, each in a process of its own, end in the weights and the log of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from itertools import product

import pytest
import torch
from tiny_runs import SET_UPS, one_error, outcome, plant, steps_of_valid
from transformers import Trainer, TrainingArguments

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM
from hf_genomics.errors import InputError
from hf_genomics.runs import checkpoints
from hf_genomics.runs.exact_trainer import ExactTrainer, decisive_settings

KILLS = int(os.environ.get("KILLS", "5"))  # `make kill9`: 200
HANGS = 120  # seconds after which a process that should have ended is killed, and the test fails


# resume

CASES = {
    "base": (("base", 1, 0, 1), (3, 5, 8)),  # between two lines of the log, at an epoch's end, after the last step
    "mask8, accumulation, workers": (("mask8", 4, 2, 1), (2,)),
    "stride3, workers, 2 processes": (("stride3", 1, 2, 2), (7,)),  # within the second epoch
    "base, accumulation, 2 processes": (("base", 4, 0, 2), (1,)),
}


#: The slow tests try every combination of set-up, accumulation, workers and processes.
QUICK = {"stride3, workers, 2 processes"}


@pytest.mark.parametrize(
    ("setting", "steps"),
    [pytest.param(*case, marks=[] if name in QUICK else [pytest.mark.slow], id=name) for name, case in CASES.items()],
)
def test_a_resumed_run_equals_one_that_was_never_stopped(start, tmp_path, setting, steps):
    resumed_equals_whole(start, tmp_path, *setting, steps)


@pytest.mark.slow
@pytest.mark.parametrize("setting", product(SET_UPS, (1, 4), (0, 2), (1, 2)), ids=str)
def test_every_checkpoint_of_every_setting_resumes_exactly(start, tmp_path, setting):
    resumed_equals_whole(start, tmp_path, *setting, range(1, 9))


def resumed_equals_whole(start, tmp_path, set_up, accumulation, workers, processes, steps):
    """Dropout is on, lines of the log span two steps, checkpoints come after each."""
    options = {"set_up": set_up, "gradient_accumulation_steps": accumulation, "dataloader_num_workers": workers}
    options |= {"per_device_train_batch_size": 4 // min(4, accumulation * processes), "save_steps": 1}
    code, text = start("whole", processes, **options)
    assert code in (0, [0] * processes), text
    whole = outcome(tmp_path / "whole")
    last = outcome(tmp_path / "whole", "checkpoint-8")
    for step in steps:
        name = f"from_{step}"
        shutil.copytree(tmp_path / "whole" / f"checkpoint-{step}", tmp_path / name / f"checkpoint-{step}")
        code, text = start(name, processes, resume=True, **options)
        assert code in (0, [0] * processes), text
        assert outcome(tmp_path / name) == whole, f"resumed from step {step}"
        if step < 8:
            assert outcome(tmp_path / name, "checkpoint-8") == last, f"resumed from step {step}"


# several processes


EPOCH = 5  # steps of 4 of the 23 windows


@pytest.mark.slow
def test_two_processes_and_one_learn_alike_from_the_same_global_batch_and_share_no_window(start, tmp_path):
    """Two epochs, at whose ends 3 windows are left over."""
    losses, steps = {}, {}
    for processes, batch, accumulation in ((1, 4, 1), (2, 2, 1), (2, 1, 2)):
        name = f"{processes}_{batch}"
        options = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
        options |= {"dropout": 0.0, "logging_steps": 1, "save_strategy": "no", "max_steps": 2 * EPOCH}
        job = {"windows": str(tmp_path / "windows" / name), "kill_after": HANGS}
        code, text = start(name, processes, job=job, **options)
        assert code in (0, [0, 0]), text
        losses[name] = losses_of(tmp_path / name)
        steps[name] = windows_by_step(tmp_path / "windows" / name, accumulation)
    assert len(set(losses["1_4"])) == 2 * EPOCH
    for name in losses:
        assert losses[name] == pytest.approx(losses["1_4"], abs=1e-4)
        assert steps[name] == steps["1_4"]
    for epoch in (0, 1):
        seen = [row for step in steps["1_4"][epoch * EPOCH :][:EPOCH] for row in step]
        assert len(set(seen)) == len(seen) == 4 * EPOCH  # distinct, over the processes too


def losses_of(folder):
    log = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in log if "loss" in entry]


def windows_by_step(folder, accumulation):
    """The windows that all processes together fetched for each step, sorted; every step has as many."""
    steps = []
    for path in sorted(folder.glob("*.jsonl")):
        batches = [json.loads(line) for line in path.read_text().splitlines()][1:]  # the first is for the memory
        epochs, rows = [epoch for epoch, _ in batches], [rows for _, rows in batches]
        assert epochs == [0] * EPOCH * accumulation + [1] * EPOCH * accumulation
        steps.append([sum(rows[at : at + accumulation], []) for at in range(0, len(rows), accumulation)])
    return [sorted(sum(parts, [])) for parts in zip(*steps, strict=True)]


# kills


@pytest.mark.parametrize("sharded", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["copied", "sharded"])
def test_a_killed_rank_ends_the_others_with_a_message(start, tmp_path, sharded):
    job = plant("SIGKILL", step=3, rank=1) | {"kill_after": HANGS}
    job |= {"fsdp": True} if sharded else {}
    codes, text = start(processes=2, per_device_train_batch_size=2, job=job)
    assert codes[0] not in (0, -9) and codes[1] == -9
    assert "another process of the run has ended; see its messages" in text
    job = {"fsdp": True} if sharded else {}
    assert start(processes=2, per_device_train_batch_size=2, resume=True, job=job)[0] == [0, 0]


def test_killed_runs_end_in_the_same_weights_and_log(start, tmp_path):
    """Half of the kills come before a chosen touch of the output folder or flush to disk, half at any time."""
    options = {"max_steps": 6, "save_steps": 1, "save_total_limit": 2}
    code, text = start("whole", **options)
    assert code == 0, text
    whole, chance, kills, runs, halves = outcome(tmp_path / "whole"), random.Random(0), 0, 0, set()
    while kills < KILLS:
        folder, code = tmp_path / f"run_{runs}", None
        while code != 0:
            aim = {"kill_at": chance.randint(1, 250)} if chance.random() < 0.5 else {"kill_after": chance.random()}
            found = any(folder.glob("checkpoint-*"))
            code, text = start(folder.name, job=aim if kills < KILLS else {}, resume=found, **options)
            kills += code == -9
            halves |= set(folder.glob(".checkpoint-*"))  # left of a checkpoint half-written or half-deleted
            if code == 2 and (folder / "metrics.json").exists():
                assert "already trained for 6 steps" in text  # killed after its last line
                break
            assert code in (0, -9), text
        assert outcome(folder) == whole, f"run {runs}"
        runs += 1
    print(f"{kills} kills, {len(halves)} while a checkpoint was written or deleted; {runs} runs, all equal to the bit")
    assert KILLS < 20 or len(halves) > KILLS / 10


# disks


def test_a_disk_that_fills_up_ends_the_run_in_one_line_and_leaves_the_last_checkpoint(start, tmp_path):
    code, text = start(job=plant("full disk", step=3))
    assert code == 2
    assert "could not be written" in one_error(text) and "checkpoint-2 with --resume auto" in text
    assert "Traceback" not in text
    assert steps_of_valid(tmp_path / "out") == [2]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"checkpoint-2", "metrics.jsonl"}  # no half ones
    assert start(resume=True)[0] == 0


def test_weights_of_another_model_are_refused_by_name(tmp_path):
    trainer = small_trainer(tmp_path)
    tied = next(iter(trainer.model.all_tied_weights_keys))
    trainer.check_loaded([tied], [])  # saved under another name
    for missing, unexpected in ((["bert.x"], []), ([], ["bert.x"])):
        with pytest.raises(InputError, match=r"bert\.x"):
            trainer.check_loaded(missing, unexpected)


def test_what_is_saved_loads_and_holds_no_pickle(tmp_path):
    trainer = small_trainer(tmp_path)
    trainer.save_model(str(tmp_path / "saved"))
    assert not list((tmp_path / "saved").glob("*.bin"))
    loaded = KmerBertForMaskedLM.from_pretrained(tmp_path / "saved")
    assert all(torch.equal(weight, loaded.state_dict()[name]) for name, weight in trainer.model.state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), None, 0.5])
def test_a_best_model_needs_a_score_with_a_value_and_logs_hold_no_nan(tmp_path, monkeypatch, value):
    trainer = small_trainer(tmp_path)
    trainer.args.metric_for_best_model = "r2"

    def evaluated(self, *args, **kwargs):
        metrics = {"eval_loss": 1.0, "eval_r2": value, "eval_mcc": float("inf")}
        self.log(metrics)
        return metrics

    monkeypatch.setattr(Trainer, "evaluate", evaluated)
    if value == 0.5:
        assert trainer.evaluate()["eval_r2"] == 0.5
    else:
        with pytest.raises(InputError, match=r"metric_for_best_model: eval_r2 has no value at step 0"):
            trainer.evaluate()
    (entry,) = trainer.state.log_history
    assert "NaN" not in json.dumps(entry, allow_nan=False) and entry["eval_mcc"] is None


@pytest.mark.parametrize(("damaged", "metric"), [(False, "loss"), (True, "loss"), (False, "mcc")])
def test_the_best_checkpoint_is_found_in_a_folder_that_has_been_moved(tmp_path, caplog, damaged, metric):
    best = tmp_path / "here" / "checkpoint-2"
    with checkpoints.writing(best) as place:
        (place / "trainer_state.json").write_text("{}")
        (place / "model.safetensors").write_text("weights")
    if damaged:
        (best / "model.safetensors").write_text("")
    trainer = small_trainer(tmp_path / "here")
    trainer.state.best_model_checkpoint = str(tmp_path / "there" / "checkpoint-2")
    trainer.state.best_global_step, trainer.state.best_metric = 2, 0.5
    trainer.state.log_history = [{"step": 2, "loss": 0.6}, {"step": 2, "eval_loss": 0.5, "eval_mcc": 0.1}]
    trainer.args.metric_for_best_model = metric
    trainer._restore_best(best)
    found = trainer.state.best_model_checkpoint, trainer.state.best_metric, trainer.state.best_global_step
    is_lost = damaged or metric == "mcc"
    assert found == ((None, None, 0) if is_lost else (str(best), 0.5, 2))
    assert ("checkpoint-2" in caplog.text) is is_lost


def test_settings_that_decide_a_run_are_saved_if_they_are_not_the_default(tmp_path):
    plain = decisive_settings(TrainingArguments(str(tmp_path)), {})
    other = decisive_settings(TrainingArguments(str(tmp_path), data_seed=1, dataloader_drop_last=True), {})
    assert other == plain | {"trainer.data_seed": 1, "trainer.dataloader_drop_last": True}


def small_trainer(folder):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = KmerBertForMaskedLM(KmerBertConfig(k=3, **sizes))
    return ExactTrainer(model=model, args=TrainingArguments(str(folder), use_cpu=True))


@pytest.mark.parametrize(("resumed", "hours"), [(True, 2.0), (False, 0.5)])
def test_the_hours_of_a_run_include_those_of_the_runs_that_it_continues(tmp_path, resumed, hours):
    trainer = small_trainer(tmp_path)
    trainer._resumed_from = tmp_path if resumed else None
    trainer.state.log_history = [{"train_hours": 0.7}, {"train_hours": 1.5}, {"eval_loss": 1.0}]
    trainer.log({"loss": 1.0}, time.time() - 1800)
    trainer.log({"train_loss": 1.0, "train_runtime": 3600.0})
    assert [entry["train_hours"] for entry in trainer.state.log_history[3:]] == pytest.approx([hours, hours + 0.5])


# privacy


def test_a_run_prints_nothing_pickles_nothing_and_writes_no_sequence(start, tmp_path, tiny_store):
    job = plant("nan", step=5) | {"printed": str(tmp_path / "printed")}
    code, text = start(job=job, on_nonfinite="skip_batch", disable_tqdm=False)
    assert code == 0 and (tmp_path / "printed").read_text() == ""
    assert "step 2: loss 5." in text and "| 8/8 [" in text  # the log and the bar
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".jsonl", ".md", ".safetensors", ".py"}
    letters = (tiny_store.parent / "genomes.fa").read_text().splitlines()[1::2]
    pieces = {line[start : start + 10].encode() for line in letters for start in range(len(line) - 9)}
    written = [text.encode(), *(path.read_bytes() for path in files)]
    assert len(pieces) > 800 and not [piece for piece in pieces for content in written if piece in content]
