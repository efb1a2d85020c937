"""The Trainer of pretraining: scores of hidden nucleotides, a schedule longer than the run, speed in metrics.jsonl."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..evaluation.masked_scores import count_batch, masked_metrics, score_batch
from ..evaluation.pictures import plot_loss
from ..runs.exact_trainer import ExactTrainer, disk_errors
from ..runs.flops import attention_pairs, measure_peak, selects_in_last_layer, training_flops
from ..sequence import IGNORE_INDEX
from .progress import FILE, add_line, begin_file, in_words, seconds_left, speed_and_shares

logger = logging.getLogger(__name__)

PICTURE_SECONDS = 60.0  # between two drawings of the curves


class MaskedTrainer(ExactTrainer):
    """ExactTrainer for masked k-mers.

    Args:
        schedule_steps: number of steps of the learning rate's schedule, warm-up included; by default as many as the
            run has. A longer schedule is cut off where the run ends.
        peak_tflops: the most that one device can do, in 10^12 operations per second, to compute the MFU (share of this
            peak that the run reaches); measured if None.
        options: arguments of ExactTrainer; ``processing_class`` is a KmerTokenizer.
    """

    data_collator: Any  # set by transformers.Trainer

    def __init__(self, *, schedule_steps: int | None = None, peak_tflops: float | None = None, **options: Any) -> None:
        scored = options.get("eval_dataset") is not None
        super().__init__(**options, compute_metrics=masked_metrics if scored else None)
        self.schedule_steps, self.peak_tflops = schedule_steps, peak_tflops
        self._config = self.model.config
        self._peak = 0.0  # operations per second that all devices together can do
        self._file, self._file_begun = Path(self.args.output_dir) / FILE, False
        self._counts: torch.Tensor | None = None  # sums since the last line of the log
        # Times by the clock, 0 if it has not happened yet: first step, last line of the log, last picture.
        self._begun = self._logged = self._drawn = 0.0
        self._evaluating = 0.0  # seconds of evaluations since the last line of the log
        self._first_step = 0  # the step from which this process continues

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Create a schedule of ``schedule_steps`` steps."""
        check_schedule(self.schedule_steps, num_training_steps)
        return super().create_scheduler(self.schedule_steps or num_training_steps, optimizer)

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Train on a batch, and count its tokens."""
        if not self._begun:  # not earlier: waiting for the first batch is not part of the speed
            self._peak = self._find_peak()
            self._begun = self._logged = time.perf_counter()
            self._evaluating = 0.0  # an evaluation at the start was before the first interval
            self._first_step = self.state.global_step
        counts = self._count(inputs)
        self._counts = counts if self._counts is None else self._counts + counts
        return super().training_step(model, inputs, *args, **kwargs)

    def _count(self, inputs: dict[str, Any]) -> torch.Tensor:
        """Return the six counts of `count_batch`, and the pairs of tokens that attend to each other, (7,)."""
        ids, packed = inputs["input_ids"], "position_ids" in inputs
        places = inputs["position_ids"] if packed else torch.arange(ids.shape[1], device=ids.device)
        select_last = selects_in_last_layer(self._config, self.args.device)
        selected = inputs["labels"] != IGNORE_INDEX if select_last else None
        pairs = attention_pairs(self._config, places, inputs["attention_mask"], selected)
        counts = count_batch(ids, inputs["labels"], self.processing_class, packed=packed)
        return torch.cat([counts, pairs.unsqueeze(0)])

    def _find_peak(self) -> float:
        """Return how many operations per second the devices of all processes can do: as given, or measured now."""
        args = self.args
        if self.peak_tflops is not None:
            logger.info("MFU: share of %g TFLOP/s for each process (trainer.peak_tflops)", self.peak_tflops)
            return 1e12 * self.peak_tflops * args.world_size
        dtype = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else torch.float32
        peak = measure_peak(args.device, dtype)
        where = f"{torch.get_num_threads()} CPU threads" if args.device.type == "cpu" else str(args.device)
        logger.info("MFU: share of %.3g TFLOP/s, measured: products of %s matrices, %s", peak / 1e12, dtype, where)
        return self.accelerator.reduce(torch.tensor(peak, device=args.device), "sum").item()

    def get_eval_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        """Build a loader that does not pack windows: processes need equal numbers of rows to gather their scores."""
        collator = self.data_collator
        self.data_collator = replace(collator, pack_to=None)
        try:
            return super().get_eval_dataloader(*args, **kwargs)
        finally:
            self.data_collator = collator

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[Any, Any, Any]:
        """Predict a batch and reduce the logits to a few sums for each row.

        The loss is one of these sums: the Trainer's own loss, a mean of the losses of batches, would depend on which
        windows share a batch.
        """
        # Without this, the model would compute the logits of all tokens, as it does by default outside training.
        inputs = inputs | {"sparse_prediction": self._config.sparse_prediction}
        loss, logits, labels = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        if logits is None or labels is None:
            return loss, logits, labels
        scores = score_batch(inputs["input_ids"].to(labels.device), labels, logits, self.processing_class)
        return None, scores, scores[:, :1]

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log numbers, write them with speed and shares to metrics.jsonl, and draw the curves once a minute."""
        super().log(logs, *args, **kwargs)
        line = {"step": self.state.global_step} | logs
        if "loss" in logs and self._counts is not None:
            line |= self._since_the_last_line()
        self._evaluating += logs.get("eval_runtime", 0.0)
        if not self.is_world_process_zero():
            return
        if "mfu" in line:
            logger.info("step %d: %s", self.state.global_step, in_words(line))
        with disk_errors(self._file):
            if not self._file_begun:  # a resumed run knows only now at which step it continues
                # A run that is resumed at its end trains no step.
                resumed_at = self._first_step if self._begun else self.state.global_step
                begin_file(self._file, resumed_at if self._resumed_from else -1)
                self._file_begun = True
            add_line(self._file, line)
            if self._begun and time.perf_counter() - max(self._drawn, self._begun) > PICTURE_SECONDS:
                plot_loss(self.state.log_history, self._file.with_name("loss.png"))
                self._drawn = time.perf_counter()

    def _since_the_last_line(self) -> dict[str, float]:
        """Return speed and shares over all processes, without the time of evaluations, and the time left."""
        *counts, pairs = self.accelerator.reduce(self._counts, "sum").tolist()
        now, steps = time.perf_counter(), self.state.global_step - self._first_step
        seconds = max(now - self._logged - self._evaluating, 1e-9)
        tokens, masked = counts[1], counts[3]
        predicted = masked if self._config.sparse_prediction else tokens
        select_last = selects_in_last_layer(self._config, self.args.device)
        flops = training_flops(self._config, tokens, pairs, predicted, select_last=select_last)
        measured = speed_and_shares(counts, seconds)
        measured |= {"tflops_per_second": flops / seconds / 1e12, "mfu": flops / seconds / self._peak}
        left = seconds_left(now - self._begun, steps, self.state.max_steps - self.state.global_step)
        self._counts, self._logged, self._evaluating = None, now, 0.0
        return measured | {"eta_seconds": left}


def check_schedule(schedule_steps: int | None, steps: int) -> None:
    """Check that the schedule of the learning rate does not end before the run.

    Args:
        schedule_steps: number of steps of the schedule; None for as many as the run has.
        steps: number of steps of the run.

    Raises:
        InputError: if the schedule is shorter than the run; the message names both numbers.
    """
    if schedule_steps is not None and schedule_steps < max(steps, 1):
        raise InputError(
            f"trainer.schedule_steps ({schedule_steps}) is less than the {steps} steps of the run: the learning rate "
            "would be 0 before its end; raise it, or lower trainer.max_steps"
        )
