"""Callbacks: the epoch reaches every data set, and a signal ends a run after its step with a checkpoint."""

from __future__ import annotations

import os
import signal
import threading
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from tiny_runs import one_error, outcome, plant, steps_of_valid
from transformers import TrainerControl, TrainerState

from hf_genomics import SetEpoch
from hf_genomics.errors import StoppedError
from hf_genomics.runs import callbacks
from hf_genomics.runs.callbacks import QuietProgress, ReturnMemory, StopAfterStep, StopRequest, shield_workers

# epochs


@pytest.mark.parametrize(("epoch", "expected"), [(None, 0), (0.0, 0), (2.0, 2), (2.999, 2)])
def test_every_data_set_learns_the_epoch(epoch, expected):
    told = [[], []]
    datasets = [SimpleNamespace(set_epoch=epochs.append) for epochs in told]
    SetEpoch(*datasets).on_epoch_begin(None, TrainerState(epoch=epoch), TrainerControl())
    assert told == [[expected], [expected]]


# signals


def test_a_signal_is_kept_until_the_end_of_the_step_and_a_second_one_interrupts():
    request, before = StopRequest(), signal.getsignal(signal.SIGTERM)
    with request.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        assert (request.number, request.agreed) == (signal.SIGTERM, 0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_only_the_main_thread_listens():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def listen():
        with StopRequest().listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_run_ends_when_its_step_is_saved_and_neither_before_nor_unasked():
    request, control, state = StopRequest(), TrainerControl(), TrainerState(global_step=7)
    callback = StopAfterStep(request)
    callback.on_step_end(None, state, control)
    callback.on_save(None, state, control)
    assert not control.should_save
    request.number = signal.SIGTERM  # this process knows of it, the others do not yet
    callback.on_step_end(None, state, control)
    assert not control.should_save
    request.agreed = signal.SIGTERM
    callback.on_step_end(None, state, control)
    assert control.should_save and not control.should_training_stop
    with pytest.raises(StoppedError, match="SIGTERM after step 7") as stopped:
        callback.on_save(None, state, control)
    assert stopped.value.code == 143


@pytest.mark.parametrize(
    ("name", "number"),
    [
        pytest.param(*case, marks=pytest.mark.slow)  # test_running.py sends SIGTERM in every step of a run
        for case in [("SIGTERM", 15), ("SIGINT", 2), ("SIGUSR1", 10), ("SIGHUP", 1)]
    ],
)
def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint_and_one_line(start, tmp_path, name, number):
    code, text = start(job=plant(name, step=3), save_total_limit=1)
    assert code == 128 + number
    assert f"{name} after step 3" in one_error(text) and "--resume auto" in one_error(text)
    assert "Traceback" not in text
    assert steps_of_valid(tmp_path / "out") == [3]


@pytest.mark.slow
def test_a_run_that_was_stopped_continues_to_the_same_end(start, tmp_path):
    assert start("whole")[0] == 0
    assert start("out", job=plant("SIGTERM", step=5), save_strategy="no")[0] == 143
    assert start("out", resume=True)[0] == 0
    assert outcome(tmp_path / "out") == outcome(tmp_path / "whole")


def test_a_signal_in_the_last_step_ends_the_run_before_its_scores_and_auto_finishes_it(start, tmp_path):
    assert start("whole")[0] == 0
    code, text = start("out", job=plant("SIGUSR1", step=8), save_steps=8)
    assert code == 138 and "step 8" in one_error(text)
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert start("out", resume="auto")[0] == 0
    assert outcome(tmp_path / "out") == outcome(tmp_path / "whole")


def test_a_signal_that_a_launcher_passes_on_is_one_request(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    request = StopRequest()
    with request.listening():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.number == signal.SIGINT
        request._since -= 60
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


class _Ignores(torch.utils.data.Dataset):
    """One row: whether the process that reads it ignores SIGTERM."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_workers_ignore_signals_also_in_a_loader_that_accelerate_has_wrapped():
    loader = torch.utils.data.DataLoader(_Ignores(), num_workers=1)
    for one in (loader, Accelerator(cpu=True).prepare(torch.utils.data.DataLoader(_Ignores(), num_workers=1))):
        assert [batch.tolist() for batch in shield_workers(one)] == [[True]]


def test_workers_that_load_data_outlive_a_signal_to_all_processes(start, tmp_path):
    """Slurm signals every process of a job; the step that is under way needs its batches."""
    code, text = start(job=plant("group SIGTERM", step=3), dataloader_num_workers=1, max_steps=6)
    assert code == 143, text
    assert steps_of_valid(tmp_path / "out") == [3, 2]


def test_processes_stop_together_when_one_of_them_gets_a_signal(start, tmp_path):
    codes, text = start(processes=2, job=plant("SIGTERM", step=3, rank=1), per_device_train_batch_size=2)
    assert codes == [143, 143], text
    assert steps_of_valid(tmp_path / "out") == [3, 2]


# the progress bar


def test_the_progress_bar_prints_no_numbers(capsys):
    QuietProgress().on_log(None, SimpleNamespace(is_world_process_zero=True), TrainerControl(), logs={"loss": 1.0})
    assert capsys.readouterr().out == ""


def test_freed_memory_is_returned_every_so_many_steps(monkeypatch):
    returned = []
    monkeypatch.setattr(callbacks, "return_freed_memory", lambda: returned.append(state.global_step))
    callback, state = ReturnMemory(every=3), TrainerState()
    for step in range(1, 10):
        state.global_step = step
        callback.on_step_end(None, state, None)
    assert returned == [3, 6, 9]
