"""Losses of the heads: pure functions of logits and labels.

A *logit* is an unnormalised score, one per class or label; a loss in *nats* is -log of the predicted probability. The
Trainer may split the batch of one optimizer step into several micro-batches to save memory.

Each loss is a sum over the known labels, divided by a number of labels. The Trainer passes that number for the whole
optimizer step (``num_items_in_batch``), so a step has the same loss and gradient however it is split into
micro-batches; without it, the sum is divided by the number of known labels in the batch. The loss of a batch without
labels is 0, never NaN.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .compat import is_tracing
from .configuration_kmer_bert import KmerBertConfig
from .sequence import IGNORE_INDEX


def label_loss(
    logits: Tensor,
    labels: Tensor,
    num_items: Tensor | int | None = None,
    class_weights: Sequence[float] | None = None,
    focal_gamma: float = 0.0,
) -> Tensor:
    """Compute the cross-entropy in nats per label, in float32.

    Args:
        logits: (..., classes).
        labels: (...), class numbers, or -100 for no label.
        num_items: number of known labels in the whole optimizer step, by which the sum is divided; by default
            the number in this batch.
        class_weights: factor of each class, (classes,). The divisor remains the number of labels, not the sum of their
            weights, so that the losses of micro-batches add up to the loss of the whole batch.
        focal_gamma: multiply the loss of a label that is predicted with probability p by (1 - p)^gamma; 0 is plain
            cross-entropy.

    Source: focal loss, Lin et al. 2017 (doi 10.1109/ICCV.2017.324), equation 4.
    """
    labels = labels.reshape(-1).to(logits.device)
    flat = logits.reshape(-1, logits.shape[-1]).float()
    num_known = (labels != IGNORE_INDEX).sum() if num_items is None else num_items
    if class_weights is None and not focal_gamma:  # the usual case: exactly the number of torch
        return per_item(
            nn.functional.cross_entropy(flat, labels, ignore_index=IGNORE_INDEX, reduction="sum"), num_known
        )
    nats = nn.functional.cross_entropy(flat, labels, ignore_index=IGNORE_INDEX, reduction="none")
    nats = nats * focal_factor(nats, focal_gamma)
    if class_weights is not None:
        # Label -100 is not an index; its loss is 0, so that any weight will do.
        nats = nats * flat.new_tensor(class_weights)[labels.clamp(min=0)]
    return per_item(nats.sum(), num_known)


def binary_loss(
    logits: Tensor,
    labels: Tensor,
    num_items: Tensor | int | None = None,
    class_weights: Sequence[float] | None = None,
    focal_gamma: float = 0.0,
) -> Tensor:
    """Compute the binary cross-entropy in nats per entry of the labels, in float32.

    Args:
        logits: (batch, num_labels).
        labels: (batch, num_labels), 0, 1 or anything between; NaN or -100 where not measured.
        num_items: as in `label_loss`. The Trainer counts the entries that are not -100; that is the number of measured
            entries if the collator writes -100 where an entry is not measured (ours does).
        class_weights: factor of the positives of each label, (num_labels,).
        focal_gamma: as in `label_loss`.
    """
    labels = labels.to(logits.device, torch.float32)
    known = ~(labels.isnan() | (labels == IGNORE_INDEX))
    target = labels.where(known, 0.0)
    scores = logits.float()
    nats = nn.functional.binary_cross_entropy_with_logits(scores, target, reduction="none")
    factor = focal_factor(nats, focal_gamma)
    if class_weights is not None:
        # The weight for positives, 1 for negatives, in between for soft labels.
        nats = nats * (1 + target * (scores.new_tensor(class_weights) - 1))
    return per_item((nats * factor).where(known, 0.0).sum(), known.sum() if num_items is None else num_items)


def squared_error(logits: Tensor, labels: Tensor, num_items: Tensor | int | None = None) -> Tensor:
    """Compute the squared error per entry of the targets, in float32.

    Args:
        logits: (batch, targets).
        labels: (batch, targets), NaN where not measured.
        num_items: as in `label_loss`. The Trainer's number includes the entries that are NaN, which makes the loss of a
            step smaller by their share.
    """
    labels = labels.to(logits.device, torch.float32)
    known = ~labels.isnan()
    error = (logits.float() - labels.where(known, 0.0)).square().where(known, 0.0)
    return per_item(error.sum(), known.sum() if num_items is None else num_items)


def sequence_loss(
    logits: Tensor, labels: Tensor, config: KmerBertConfig, num_items: Tensor | int | None = None
) -> Tensor:
    """Compute the loss of a sequence head: cross-entropy, binary cross-entropy or squared error.

    Args:
        logits: (batch, num_labels), as the last layer returns them, before `in_target_units`.
        labels: (batch,) or (batch, num_labels); targets of a regression in their own units.
        config: ``problem_type`` chooses the loss. If it is None, one output means regression; otherwise integer labels
            mean one class per sequence, and floating-point labels mean several yes/no labels. ``class_weights`` and
            ``focal_gamma`` are used too.
        num_items: number of known labels in the whole optimizer step; by default the number in this batch.

    Raises:
        ValueError: if labels are not a tensor, there are more or fewer of them than logits, or a label is not a class
            of the model.
    """
    if not isinstance(labels, Tensor):
        raise ValueError(f"labels must be a tensor of class numbers or values, not a {type(labels).__name__}")
    problem = config.problem_type or problem_type(config.num_labels, labels)
    if problem == "single_label_classification":
        check_count(labels, logits.shape[:-1])
        check_classes(labels, logits.shape[-1])
        return label_loss(logits, labels, num_items, config.class_weights, config.focal_gamma)
    check_count(labels, logits.shape)
    labels = labels.reshape(logits.shape)
    if problem == "regression":
        return squared_error(logits, standardised(labels, config), num_items)
    check_binary(labels)
    return binary_loss(logits, labels, num_items, config.class_weights, config.focal_gamma)


def standardised(labels: Tensor, config: KmerBertConfig) -> Tensor:
    """Standardise the targets of a regression, (batch, targets), as the model learns them, in float32; NaN stays NaN.

    Labels are returned unchanged if the configuration has no means and scales.
    """
    if config.target_means is None or config.target_scales is None:
        return labels
    labels = labels.float()
    return (labels - labels.new_tensor(config.target_means)) / labels.new_tensor(config.target_scales)


def in_target_units(logits: Tensor, config: KmerBertConfig) -> Tensor:
    """Convert the logits of a regression (batch, targets) to the units of its targets, in float32.

    Logits of other models are returned unchanged.
    """
    if config.target_means is None or config.target_scales is None:
        return logits
    logits = logits.float()
    return logits * logits.new_tensor(config.target_scales) + logits.new_tensor(config.target_means)


def problem_type(num_labels: int, labels: Tensor) -> str:
    """Infer the kind of problem from the labels, as the heads of transformers do."""
    if num_labels == 1:
        return "regression"
    return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"


def focal_factor(nats: Tensor, gamma: float) -> Tensor | float:
    """Compute (1 - p)^gamma for labels that are predicted with probability p = exp(-nats)."""
    # 1 - p is kept above 0. At 0 the gradient is infinite if gamma is below 1, and would make the weights NaN.
    return (-torch.expm1(-nats)).clamp(min=1e-12) ** gamma if gamma else 1.0


def per_item(total: Tensor, items: Tensor | int) -> Tensor:
    """Divide a sum by a number of items, or by 1 if there are none."""
    return total / torch.as_tensor(items, device=total.device).clamp(min=1)


def check_count(labels: Tensor, shape: Sequence[int]) -> None:
    """Check that there are as many labels as outputs.

    Raises:
        ValueError: naming both shapes.
    """
    if labels.numel() != torch.Size(shape).numel():
        raise ValueError(f"labels of shape {tuple(labels.shape)} do not fit outputs of shape {tuple(shape)}")


def check_classes(labels: Tensor, num_classes: int) -> None:
    """Check class numbers here, because on a GPU the error would name neither the label nor the rule.

    While a graph is traced or compiled, labels have no values that could be checked.

    Raises:
        ValueError: naming the first label that is not a class number.
    """
    if labels.is_floating_point():
        raise ValueError(f"class labels must be integers (torch.int64), not {labels.dtype}")
    bad = (labels != IGNORE_INDEX) & ((labels < 0) | (labels >= num_classes))
    if not is_tracing(labels) and bad.any():
        raise ValueError(
            f"label {labels[bad][0].item()} is not a class: the model has {num_classes}, numbered 0..{num_classes - 1} "
            f"({IGNORE_INDEX} for no label); number the labels from 0, or build the model with more num_labels"
        )


def check_binary(labels: Tensor) -> None:
    """Check that the entries of several labels lie in 0..1; as in `check_classes`, not while a graph is traced.

    Raises:
        ValueError: naming the first entry that is outside 0..1 and neither NaN nor -100.
    """
    bad = (labels != IGNORE_INDEX) & ((labels < 0) | (labels > 1))
    if not is_tracing(labels) and bad.any():
        raise ValueError(
            f"label {labels[bad][0].item()} is neither 0 nor 1 (NaN or {IGNORE_INDEX} where not measured); for numbers "
            'set problem_type="regression"'
        )
