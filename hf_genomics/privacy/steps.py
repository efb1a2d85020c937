"""Train with differential privacy by DP-SGD: Poisson samples of the rows, clipped gradients and noise.

The weights should tell almost nothing about any single training row, so that nobody can find out from a published model
whether a certain sequence was in its training table. Three things achieve this: nobody knows which rows a step has
used, clipping limits how much one row can change the step, and noise hides a change of that size.

The guarantee has two numbers, epsilon and delta. Whatever somebody looks for in the weights, its probability would be
at most e^epsilon times as high with the row as without it, apart from a small probability delta. So a smaller epsilon
is better. Every step spends a part of epsilon; an accountant (here that of Rényi differential privacy, RDP) adds the
steps up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from ..runs.trainer_fence import FencedTrainer
from .budget import Budget, steps_of_epoch
from .gradients import check_row_gradients, clipped_sum, noisy, row_gradients, secret_generator, take_row_gradients

# Bytes that the gradients of the rows of one backward pass may take.
_MOST_BYTES = 2**30


class PoissonBatches(Sampler[list[int]]):
    """Random batches: each row is drawn independently of the others, so a batch may be empty.

    The bound on epsilon is a theorem about such batches, not about shuffled rows in batches of one size.

    Args:
        rows: number of rows.
        batch: expected number of rows in a batch.
        generator: from `secret_generator`: nobody may know which rows were in a batch.
    """

    def __init__(self, rows: int, batch: int, generator: np.random.Generator) -> None:
        self.rows, self._generator = rows, generator
        self.batch_size, self.drop_last = min(batch, rows), False  # both are read by accelerate

    def __len__(self) -> int:
        """Return the number of batches of an epoch: so many that each row is drawn once on average."""
        return steps_of_epoch(self.rows, self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Iterate over the rows of each batch."""
        for _ in range(len(self)):
            chosen = self._generator.random(self.rows) < self.batch_size / self.rows
            yield np.flatnonzero(chosen).tolist()


class NoisyStep(FencedTrainer):
    """A Trainer whose steps are those of DP-SGD (Abadi et al. 2016), with the Trainer's own optimizer.

    `training_step` computes the gradient of every row, clips and adds them up, adds noise and writes the result to
    ``weight.grad``. From there on, the Trainer does what it does with any gradient.

    Args:
        budget: noise and number of the steps.
        options: arguments of transformers.Trainer.
    """

    def __init__(self, *, budget: Budget, **options: Any) -> None:
        super().__init__(**options)
        self.budget, self.steps_taken, self._checked = budget, 0, False
        self._noise_generator, self._row_generator = secret_generator(), secret_generator()
        trained = sum(weight.numel() for weight in self.model.parameters() if weight.requires_grad)
        self._rows_at_once = max(1, _MOST_BYTES // (4 * trained))  # a row has a float32, 4 bytes, for each weight

    @property
    def spent(self) -> dict[str, Any]:
        """Return what metrics.json says about the privacy of the run so far."""
        budget = self.budget
        return {
            "epsilon": budget.spent(self.steps_taken),
            "delta": budget.delta,
            "unit": "one training row",
            "covers": "weights",  # not the loss in the log, for example, which has no noise
            "clip": budget.clip,
            "noise_multiplier": budget.noise_multiplier,
            "sample_rate": budget.sample_rate,
            "steps": self.steps_taken,
            "accountant": "RDP",
        }

    def get_train_dataloader(self) -> Any:
        """Build the loader of Poisson batches."""
        args = self.args
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=PoissonBatches(self.budget.rows, self.budget.batch, self._row_generator),
            collate_fn=self._collate,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
            prefetch_factor=args.dataloader_prefetch_factor,
        )
        return self.accelerator.prepare(loader)

    def _collate(self, examples: list[dict[str, Any]]) -> Mapping[str, Tensor]:
        """Build a batch; a collator cannot build an empty one."""
        if examples:
            return self.data_collator(examples)
        # What is read of an empty batch. It needs no labels, because the model is not called in its step.
        return {"input_ids": torch.zeros(0, 1, dtype=torch.int64), "row_numbers": torch.zeros(0, dtype=torch.int64)}

    def train(self, *args: Any, **options: Any) -> Any:
        """Train, while each backward pass also leaves the gradients of single rows."""
        with row_gradients(self.model):
            return super().train(*args, **options)

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        """Set the gradient of a step: the noisy sum of the rows' clipped gradients, divided by the expected batch size.

        It is the expected size, because the real one depends on the rows that were drawn, which epsilon does not cover.

        Returns:
            The mean loss of the rows, which has no noise and goes to the log only.
        """
        budget = self.budget
        if self.steps_taken == budget.steps:
            raise RuntimeError(f"the noise was chosen for {budget.steps} steps, and there is another one")
        model.train()
        inputs = self._prepare_inputs(inputs)
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        sums = [torch.zeros_like(weight, dtype=torch.float32) for weight in trained]
        rows, loss = len(inputs["input_ids"]), torch.zeros((), device=self.args.device)
        for start in range(0, rows, self._rows_at_once):
            part = {name: column[start : start + self._rows_at_once] for name, column in inputs.items()}
            gradients, part_loss = self._gradients_of(model, part)
            sums = [old + new for old, new in zip(sums, clipped_sum(gradients, budget.clip), strict=True)]
            loss += part_loss
        scale = budget.noise_multiplier * budget.clip
        for weight, total in zip(trained, sums, strict=True):
            mean = noisy(total, scale, self._noise_generator) / (budget.sample_rate * budget.rows)
            weight.grad = mean.to(weight.dtype)
        self.steps_taken += 1
        return loss / max(rows, 1)

    def _gradients_of(self, model: Any, part: dict[str, Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return the gradients of the rows of a part of the batch, and the sum of their losses."""
        model.zero_grad()  # for `check_row_gradients`, which compares with the gradient of this pass alone
        with self.compute_loss_context_manager():
            # num_items_in_batch=1: the sum of the rows' losses. If it were divided by the number of labels in the
            # batch, the gradient of each row would depend on how many other rows there are.
            loss = self.compute_loss(model, with_row_ids(part), num_items_in_batch=1)
        loss.backward()
        gradients = take_row_gradients(model, len(part["input_ids"]))
        if not self._checked:
            check_row_gradients(model, gradients)
            self._checked = True
        return gradients, loss.detach()


def with_row_ids(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add to a batch the ids of positions and token types, separately for each row.

    Without them the model looks up the embeddings of positions and types once and adds them to all rows, so that their
    gradients cannot be told apart by row.

    >>> with_row_ids({"input_ids": torch.tensor([[2, 7, 3], [2, 9, 3]])})["position_ids"].tolist()
    [[0, 1, 2], [0, 1, 2]]

    Args:
        batch: with ``input_ids``, (rows, tokens).
    """
    ids = batch["input_ids"]
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    return {"position_ids": positions, "token_type_ids": torch.zeros_like(ids), **batch}
