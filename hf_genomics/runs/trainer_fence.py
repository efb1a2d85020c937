"""Fence around the private methods of transformers' Trainer: they are overridden here and nowhere else.

Each override hands over to a method with a public name, which `ExactTrainer` implements, and says in a comment why no
documented callback or method can take its place. tests/test_contracts.py compares their signatures with the installed
transformers, so that an upgrade that changes one fails in one place, by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from transformers import Trainer

from ..genomes.order import EpochOrder
from .checkpoints import reporting_damage, weights_of
from .sharding import one_group_of_tied_weights


class FencedTrainer(Trainer):
    """transformers.Trainer with public methods in place of the private ones that must be replaced."""

    order: EpochOrder | None = None  # order of the training rows; None: the Trainer's own random order

    @property
    def is_over(self) -> bool:
        """Whether a resumed run has nothing left to train before its last step."""
        return False

    def note_gradient_norm(self, norm: Any) -> None:
        """Receive the gradient norm of a step, before clipping and before the optimizer takes the step."""
        raise NotImplementedError

    def write_checkpoint(self) -> None:
        """Write the checkpoint of the current step; called on all processes."""
        raise NotImplementedError

    def load_sharded_weights(self, checkpoint: Path) -> None:
        """Load weights into a model that is sharded over processes."""
        raise NotImplementedError

    def check_loaded(self, missing: Sequence[str], unexpected: Sequence[str]) -> None:
        """Check the names of weights that only the model has (``missing``) or only the checkpoint (``unexpected``)."""
        raise NotImplementedError

    def restore_random_state(self, checkpoint: Path) -> None:
        """Restore this process's random number generators from a checkpoint."""
        raise NotImplementedError

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        # The documented place is get_train_dataloader; overriding it would mean repeating here how the Trainer treats
        # every dataloader_* argument, and following each change there.
        return super()._get_train_sampler(*args, **kwargs) if self.order is None else self.order

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        # accelerate shards the model in this method. No callback is called between building the optimizer and sharding.
        with one_group_of_tied_weights(self.model) if self.is_fsdp_enabled else nullcontext():
            return super()._prepare_for_training(*args, **kwargs)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # A run resumed from the checkpoint of its last step would train one step too many: the Trainer looks at
        # control.should_training_stop after a step, never before one.
        if self.state.global_step >= self.state.max_steps or self.is_over:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        # Callbacks are not told the norm. Computing it again in on_pre_optimizer_step would cost a pass over all
        # gradients and see them clipped only: an infinite norm scales every finite gradient to 0.
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # FSDP2's norm is sharded too
        self.note_gradient_norm(norm)
        return norm

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # A manifest written by the callback on_save would come too late. By then the Trainer has written straight into
        # the checkpoint's own folder, pickled the optimizer, and deleted older checkpoints: a kill in between could
        # leave no valid checkpoint at all.
        self.write_checkpoint()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # Under FSDP the Trainer would read a format of its own, which a run with a single process cannot read.
        if self.is_fsdp_enabled:
            self.load_sharded_weights(Path(resume_from_checkpoint))
        else:
            with reporting_damage(weights_of(Path(resume_from_checkpoint))):
                super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        # The Trainer only warns, and also of tied weights, which are saved under one name. A wrong weight must end the
        # run.
        self.check_loaded(load_result.missing_keys, load_result.unexpected_keys)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        # Only the Trainer knows the moment: before the data loader draws its seed where an epoch begins, but after the
        # batches that are skipped within an epoch. Callbacks cannot tell the two cases apart.
        if checkpoint:
            self.restore_random_state(Path(checkpoint))
