"""Choose the output that is explained: one number per sequence, for every kind of head."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AutoModelForTokenClassification, PreTrainedModel

from ..errors import InputError
from ..io.text_tables import list_names
from ..loading.adapters import base_of
from ..loading.model_folder import readable
from ..loading.models import check_finite, load_classifier, load_config, load_tokenizer, no_load_report
from ..sequence import did_you_mean
from ..tokenization_kmer import KmerTokenizer


class Targets(NamedTuple):
    """What is explained in each row of a batch: the logit of a class, or a predicted value.

    Attributes:
        classes: int64 (rows,), number of the class, label or value.
        weights: (rows, positions), for a head with a logit per token or nucleotide: the weight of each position in the
            mean that is explained, 0 on padding; None for a head with a logit per sequence.
    """

    classes: Tensor
    weights: Tensor | None = None

    def of(self, rows: Tensor) -> Targets:
        """Return the targets of some rows, which may repeat."""
        return Targets(self.classes[rows], None if self.weights is None else self.weights[rows])


def load_explained(name: str) -> tuple[PreTrainedModel, KmerTokenizer]:
    """Load a fine-tuned model in float32, and its tokenizer.

    Args:
        name: folder or Hub name of the model.

    Raises:
        InputError: if they cannot be loaded, or the model has no class or value to explain.
    """
    config = load_config(name)
    heads = " ".join(config.architectures or [])
    is_token = "TokenClassification" in heads
    if not is_token and "SequenceClassification" not in heads and base_of(name) is None:
        raise InputError(
            f"{name} has no class or value to explain, because it is {heads or 'an encoder'}; run hf-genomics finetune "
            "first, and explain the fine-tuned model"
        )
    if not is_token or config.labels_per == "nt":
        model, tokenizer = load_classifier(name)
        return model.float(), tokenizer
    with readable(name), no_load_report():  # a class per token, which only this verb reads
        model = AutoModelForTokenClassification.from_pretrained(name)
    check_finite(model.state_dict().items(), name)
    return model.float(), load_tokenizer(name)


def class_names(config: Any) -> list[str]:
    """Return the names of a model's classes, labels or values, by number."""
    return [config.id2label[number] for number in range(config.num_labels)]


def class_number(config: Any, target: str | None, source: str = "the model") -> int | None:
    """Return the number of the class, label or value that a user named.

    Args:
        config: the model's configuration.
        target: the name; None for the predicted class.
        source: name of the model, for error messages.

    Returns:
        The number; None for the predicted class of each sequence.

    Raises:
        InputError: if the model has no class of that name, or no name was given and the model predicts several values,
            which have no order.
    """
    names = class_names(config)
    if target is not None:
        if target not in names:
            guess = did_you_mean(target, names)
            raise InputError(f"target: {source} has no class {target!r}{guess}; it has {list_names(names)}")
        return names.index(target)
    if config.problem_type == "regression":
        if len(names) > 1:
            raise InputError(f"target is not set: {source} predicts several values; name one of {list_names(names)}")
        return 0
    return None


def choose_targets(logits: Tensor, number: int | None, real: Tensor | None = None) -> Targets:
    """Choose the class of each row: the named one, or the predicted one.

    The predicted class is the most probable one, also if ``predict`` decides by a threshold. Of a head with a logit per
    token or nucleotide, it is the class of most positions. What is explained is then the mean logit of the class over
    the positions that are predicted to be of it, or over all positions if there is none. The choice of positions is
    made once, for the sequence as it is.

    Args:
        logits: (rows, classes), or (rows, positions, classes).
        number: number of the named class; None for the predicted class.
        real: bool (rows, positions), False on padding and special tokens; only for logits of positions.
    """
    if logits.ndim == 2 or real is None:
        named = None if number is None else torch.full_like(logits[:, 0], number, dtype=torch.int64)
        return Targets(logits.argmax(1) if named is None else named)
    best = logits.argmax(2)
    counts = torch.nn.functional.one_hot(best, logits.shape[2]).where(real.unsqueeze(2), 0).sum(1)  # (rows, classes)
    classes = counts.argmax(1) if number is None else torch.full_like(counts[:, 0], number)
    chosen = (best == classes.unsqueeze(1)) & real
    chosen = chosen.where(chosen.any(1, keepdim=True), real)
    return Targets(classes, chosen / chosen.sum(1, keepdim=True).clamp(min=1))


def read_targets(logits: Tensor, targets: Targets) -> Tensor:
    """Read the number that is explained in each row.

    Args:
        logits: (rows, classes), or (rows, positions, classes).
        targets: targets of the same rows.

    Returns:
        (rows,).
    """
    if targets.weights is None:
        return logits.gather(1, targets.classes.unsqueeze(1)).squeeze(1)
    index = targets.classes[:, None, None].expand(-1, logits.shape[1], 1)
    picked = logits.gather(2, index).squeeze(2)  # (rows, positions)
    width = min(picked.shape[1], targets.weights.shape[1])  # what lies beyond is padding
    return (picked[:, :width] * targets.weights[:, :width]).sum(1)


@dataclass(frozen=True)
class TargetFunction:
    """The number that a model computes for each row of a batch, as a function of what the row holds.

    Attributes:
        model: fine-tuned model, in evaluation mode.
        batch: inputs of the model, as the collator builds them, on the model's device.
        targets: what is read from the logits of each row.
    """

    model: PreTrainedModel
    batch: dict[str, Tensor]
    targets: Targets

    def __call__(self, rows: Tensor, embeddings: Tensor | None = None, **columns: Tensor) -> Tensor:
        """Compute the number of some rows.

        Args:
            rows: int64 (n,), rows of the batch, which may repeat.
            embeddings: (n, tokens, hidden), or (n, parts, tokens, hidden), token embeddings in place of those of the
                ids.
            columns: inputs of these rows that replace those of the batch.

        Returns:
            (n,).
        """
        batch = {name: column[rows] for name, column in self.batch.items()} | columns
        with replaced_embeddings(self.model, embeddings, batch.get("attention_mask")):
            return read_targets(self.model(**batch).logits, self.targets.of(rows))


@contextlib.contextmanager
def replaced_embeddings(
    model: PreTrainedModel, embeddings: Tensor | None, attention_mask: Tensor | None
) -> Iterator[None]:
    """Replace the token embeddings of a model in the ``with`` block.

    Every head computes token embeddings in the same place, so this works for heads that take no ``inputs_embeds``, too.

    Args:
        model: any KmerBert.
        embeddings: (rows, tokens, hidden); (rows, parts, tokens, hidden) for a hierarchical model; None changes
            nothing.
        attention_mask: the attention mask of the call.
    """
    if embeddings is None:
        yield
        return
    if embeddings.ndim == 4 and attention_mask is not None:  # a hierarchical model leaves out parts that are missing
        present = attention_mask.bool().any(-1)
        embeddings = embeddings[present] if present.any() else embeddings.flatten(0, 1)
    handle = model.get_input_embeddings().register_forward_hook(lambda module, inputs, output: embeddings)
    try:
        yield
    finally:
        handle.remove()
