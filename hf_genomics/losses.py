"""Losses of the heads: pure functions of logits and labels.

All of them are sums over the labels that are there, divided by a number of items. The Trainer passes that number for
the whole optimizer step (``num_items_in_batch``), so a step has the same loss and gradient however it is cut into
micro-batches; alone, a batch divides by its own labels. No label at all gives 0, never NaN.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .configuration_kmer_bert import KmerBertConfig

IGNORED = -100


def label_loss(
    logits: Tensor,
    labels: Tensor,
    num_items: Tensor | int | None = None,
    class_weights: Sequence[float] | None = None,
    focal_gamma: float = 0.0,
) -> Tensor:
    """Cross-entropy in nats per label, in float32; labels of -100 count nothing.

    Args:
        logits: (..., classes).
        labels: (...), class numbers or -100.
        num_items: what to divide by, when this is only a part of an optimizer step; by default the labels given.
        class_weights: (classes,) factors. What is divided by stays the number of labels, not the sum of their weights,
            so that micro-batches add up.
        focal_gamma: weakens a label that is predicted with probability p by (1 - p)^gamma; 0 is plain cross-entropy.

    Source: focal loss, Lin et al. 2017 (doi 10.1109/ICCV.2017.324), equation 4.
    """
    labels = labels.reshape(-1).to(logits.device)
    flat = logits.reshape(-1, logits.shape[-1]).float()
    items = (labels != IGNORED).sum() if num_items is None else num_items
    if class_weights is None and not focal_gamma:
        return per_item(nn.functional.cross_entropy(flat, labels, ignore_index=IGNORED, reduction="sum"), items)
    nats = nn.functional.cross_entropy(flat, labels, ignore_index=IGNORED, reduction="none")
    nats = nats * focal_factor(nats, focal_gamma)
    if class_weights is not None:
        nats = nats * flat.new_tensor(class_weights)[labels.clamp(min=0)]
    return per_item(nats.sum(), items)


def binary_loss(
    logits: Tensor,
    labels: Tensor,
    num_items: Tensor | int | None = None,
    class_weights: Sequence[float] | None = None,
    focal_gamma: float = 0.0,
) -> Tensor:
    """Binary cross-entropy in nats per cell, in float32; cells of NaN or -100 (not measured) count nothing.

    Args:
        logits, labels: (batch, labels); labels are 0, 1 or anything between.
        num_items: as in `label_loss`. The Trainer counts what is not -100, so a collator that writes -100 into the
            cells without a value (ours does) makes it count the measured ones.
        class_weights: (labels,) factors of each label's positives.
        focal_gamma: as in `label_loss`.
    """
    labels = labels.to(logits.device, torch.float32)
    known = ~(labels.isnan() | (labels == IGNORED))
    target = labels.where(known, 0.0)
    scores = logits.float()
    nats = nn.functional.binary_cross_entropy_with_logits(scores, target, reduction="none")
    factor = focal_factor(nats, focal_gamma)
    if class_weights is not None:
        nats = nats * (1 + target * (scores.new_tensor(class_weights) - 1))
    return per_item((nats * factor).where(known, 0.0).sum(), known.sum() if num_items is None else num_items)


def squared_error(logits: Tensor, labels: Tensor, num_items: Tensor | int | None = None) -> Tensor:
    """Squared error per cell, in float32; cells of NaN count nothing (though the Trainer's ``num_items`` has them in).

    Args:
        logits, labels: (batch, targets).
        num_items: as in `label_loss`.
    """
    labels = labels.to(logits.device, torch.float32)
    known = ~labels.isnan()
    error = (logits.float() - labels.where(known, 0.0)).square().where(known, 0.0)
    return per_item(error.sum(), known.sum() if num_items is None else num_items)


def sequence_loss(
    logits: Tensor, labels: Tensor, config: KmerBertConfig, num_items: Tensor | int | None = None
) -> Tensor:
    """Loss of a sequence head: cross-entropy, binary cross-entropy or squared error by ``config.problem_type``.

    Args:
        logits: (batch, num_labels), as the head gives them, before `in_units`.
        labels: (batch,) or (batch, num_labels); values in their own units.
        config: its ``problem_type`` decides; where None, one output means regression, whole-number labels one class out
            of several, anything else several labels. Class weights and focal loss are its too.
        num_items: number of label cells of the whole optimizer step; by default those given.

    Raises:
        ValueError: if labels do not fit the logits: number, or a class the model does not have.
    """
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
    """Turn targets (batch, targets) in their own units into what a regression learns; float32, NaN stays NaN."""
    if config.target_means is None or config.target_scales is None:
        return labels
    labels = labels.float()
    return (labels - labels.new_tensor(config.target_means)) / labels.new_tensor(config.target_scales)


def in_units(logits: Tensor, config: KmerBertConfig) -> Tensor:
    """Give a regression's logits (batch, targets) back in the units of its targets, float32; others as they are."""
    if config.target_means is None or config.target_scales is None:
        return logits
    logits = logits.float()
    return logits * logits.new_tensor(config.target_scales) + logits.new_tensor(config.target_means)


def problem_type(num_labels: int, labels: Tensor) -> str:
    """Guess the kind of problem from the labels, as transformers' heads do."""
    if num_labels == 1:
        return "regression"
    return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"


def focal_factor(nats: Tensor, gamma: float) -> Tensor | float:
    """Give (1 - p)^gamma for labels that are predicted with p = exp(-nats).

    Kept off 0, where a power below 1 has no gradient.
    """
    return (-torch.expm1(-nats)).clamp(min=1e-12) ** gamma if gamma else 1.0


def per_item(total: Tensor, items: Tensor | int) -> Tensor:
    """Divide by a number of items, by 1 where there is none."""
    return total / torch.as_tensor(items, device=total.device).clamp(min=1)


def check_count(labels: Tensor, shape: Sequence[int]) -> None:
    """Check that there is a label for every output.

    Raises:
        ValueError: giving both shapes.
    """
    if labels.numel() != torch.Size(shape).numel():
        raise ValueError(f"labels of shape {tuple(labels.shape)} do not fit outputs of shape {tuple(shape)}")


def check_classes(labels: Tensor, num_classes: int) -> None:
    """Check class numbers before a device does, whose error would name neither label nor rule.

    Raises:
        ValueError: naming the first label that is no class.
    """
    if labels.is_floating_point():
        raise ValueError(f"class labels must be whole numbers (torch.int64), not {labels.dtype}")
    bad = (labels != IGNORED) & ((labels < 0) | (labels >= num_classes))
    if not torch.compiler.is_compiling() and bad.any():
        raise ValueError(
            f"label {labels[bad][0].item()} is no class: the model has {num_classes}, numbered 0..{num_classes - 1} "
            f"({IGNORED} where there is no label); number the labels from 0, or build the model with more num_labels"
        )


def check_binary(labels: Tensor) -> None:
    """Check that the cells of several labels are 0, 1 or between.

    Raises:
        ValueError: naming the first cell that is neither, nor NaN or -100.
    """
    bad = (labels != IGNORED) & ((labels < 0) | (labels > 1))
    if not torch.compiler.is_compiling() and bad.any():
        raise ValueError(
            f"label {labels[bad][0].item()} is neither 0 nor 1 (NaN or {IGNORED} where not measured); for values set "
            'problem_type="regression"'
        )
