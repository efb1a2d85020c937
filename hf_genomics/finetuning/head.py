"""Options of the head that fine-tuning puts on an encoder: how it reads sequences, its loss, and what is trained."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Literal

from ..errors import InputError


@dataclass(frozen=True)
class Head:
    """Options of the classifier (or regressor) on top of the encoder, and of its loss and training data.

    Args:
        num_parts: number of parts to cut every sequence into; the parts are encoded one by one and joined by a linear
            layer (the paper's two parts for 1000 nt at stride 1).
        part_length: length of the longest part allowed, in nt; every sequence is cut into as many parts as this
            requires. An alternative to num_parts.
        aggregation: how the parts are joined: "concat" (side by side), "mean", "max", or "transformer" (attention
            between the parts).
        stretch_positions: number of tokens ([CLS] and [SEP] included) that the new model reads, more than the
            pretrained model does. Absolute positions are interpolated; other kinds of positions need no interpolation.
        pooling: what the classifier of a sequence reads: the encoder's output for [CLS] ("cls"), or the outputs for all
            tokens, combined by "mean", "max" or "attention" (a weighted mean whose weights are learned); by default as
            in the pretrained model.
        dropout: dropout rate before the classifier; by default as in the pretrained model.
        balanced: weight the classes in the loss so that each counts the same; for several labels, weight the positives
            of each label to count as much as its negatives.
        class_weights: weights of the classes in the loss, in the order of the class names (sorted; numbers by value);
            instead of balanced.
        focal_gamma: exponent of the focal loss, which multiplies the loss of a label predicted with probability p by
            (1 - p)^gamma; 0 for the plain loss.
        rc_probability: probability of showing the reverse complement of a training sequence.
        from_scratch: start from random weights (BERT's own initialisation); only the sizes and the tokenizer of the
            pretrained model are used. This is the supervised twin of the studies.
        train: which weights are trained: the "head" only, the head and the last N layers of the encoder ("last:N"), the
            head and low-rank adapters of the encoder's linear layers ("lora"; needs the extra ``lora``), or "all".
            Frozen layers run without dropout. "lora" leaves a small folder that names the pretrained model;
            `predict`, `evaluate`, `explain` and `convert` take it as they take a model.
        lora_rank: rank of the adapters; only for "lora".
        layer_decay: factor of the learning rate from each layer to the next lower one: the head learns at
            ``trainer.learning_rate``, the last layer at this rate times layer_decay, and so on down to the embeddings.
        early_stopping: number of evaluations without a better ``trainer.metric_for_best_model`` after which training
            stops; needs ``trainer.load_best_model_at_end``. By default, all steps are taken.
        oversample: show the rows of rarer classes more often, so that each class is seen as often as the most frequent
            one.
        calibrate: after training, divide the logits by the temperature that fits the validation data best, so that
            probabilities mean what they say.
        threshold: score by which the lowest probability at which the positive class, of two, is predicted is chosen on
            the validation data; by default, the more probable class is predicted. The model's configuration keeps it.
        dp_epsilon: train with differential privacy, and spend at most this epsilon: the weights then hardly depend on
            any single training row (docs/privacy.md; needs the extra ``privacy``). ``trainer.max_grad_norm`` still
            clips the noisy gradient of a step.
        dp_delta: the delta of that promise; by default a tenth of 1 / training rows.
        dp_clip: largest norm of the gradient of a row; longer ones are shortened. Only for dp_epsilon.

    Raises:
        InputError: if a number is out of range, naming its key.
    """

    num_parts: int = 1
    part_length: int | None = None
    aggregation: Literal["concat", "mean", "max", "transformer"] = "concat"
    stretch_positions: int | None = None
    pooling: Literal["cls", "mean", "max", "attention"] | None = None
    dropout: float | None = None
    balanced: bool = False
    class_weights: list[float] | None = None
    focal_gamma: float = 0.0
    rc_probability: float = 0.0
    from_scratch: bool = False
    train: str = "all"
    lora_rank: int = 8
    layer_decay: float = 1.0
    early_stopping: int | None = None
    oversample: bool = False
    calibrate: bool = False
    threshold: Literal["macro_recall", "f1", "mcc"] | None = None
    dp_epsilon: float | None = None
    dp_delta: float | None = None
    dp_clip: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges of the numbers; `check_head` checks the options that depend on the data."""
        if self.num_parts < 1:
            raise InputError(f"head.num_parts must be at least 1, not {self.num_parts}")
        if not 0 <= self.rc_probability <= 1:
            raise InputError(f"head.rc_probability must lie in 0..1, not {self.rc_probability}")
        if not 0 <= (self.dropout or 0) < 1:
            raise InputError(f"head.dropout must lie in 0..1 (1 excluded), not {self.dropout}")
        if not 0 <= self.focal_gamma < float("inf"):
            raise InputError(f"head.focal_gamma must be 0 or more, not {self.focal_gamma}")
        if self.train not in ("head", "lora", "all") and not re.fullmatch(r"last:[1-9]\d{0,3}", self.train):
            raise InputError(
                f"head.train must be head, last:N (N layers, such as last:2), lora or all, not {self.train!r}"
            )
        if not 1 <= self.lora_rank <= 1024:
            raise InputError(f"head.lora_rank must lie in 1..1024, not {self.lora_rank}")
        if not 0 < self.layer_decay <= 1:
            raise InputError(f"head.layer_decay must lie in 0..1 (0 excluded), not {self.layer_decay}")
        if self.early_stopping is not None and self.early_stopping < 1:
            raise InputError(f"head.early_stopping must be at least 1 evaluation, not {self.early_stopping}")
        self._check_privacy()

    def _check_privacy(self) -> None:
        """Check the numbers about differential privacy."""
        if self.dp_epsilon is None:
            if self.dp_delta is not None:
                raise InputError("head.dp_delta belongs to head.dp_epsilon, which is not set; set it, too")
            return
        if not 1e-3 <= self.dp_epsilon <= 1000:
            raise InputError(f"head.dp_epsilon must lie in 0.001..1000, such as 3, not {self.dp_epsilon}")
        if self.dp_delta is not None and not 0 < self.dp_delta < 1:
            raise InputError(f"head.dp_delta must lie in 0..1 (both excluded), not {self.dp_delta}")
        if not 0 < self.dp_clip < float("inf"):
            raise InputError(f"head.dp_clip must be above 0, not {self.dp_clip}")

    @property
    def cuts(self) -> bool:
        """Whether sequences are cut into parts."""
        return self.num_parts > 1 or self.part_length is not None

    @property
    def trained_layers(self) -> int | None:
        """Number of encoder layers that are trained, if the others are frozen: 0 for the head only; otherwise None."""
        if self.train in ("lora", "all"):
            return None
        return 0 if self.train == "head" else int(self.train.removeprefix("last:"))


#: Options that are new in version 0.2.
NEW_KEYS: tuple[str, ...] = ("train", "lora_rank", "layer_decay", "early_stopping", "oversample", "calibrate")
NEW_KEYS += ("threshold", "dp_epsilon", "dp_delta", "dp_clip")
#: Keys of version 0.1, which had no section for the head: old key -> new key.
FLAT_KEYS = {"num_windows": "head.num_parts"} | {
    field.name: f"head.{field.name}" for field in fields(Head) if field.name not in {"num_parts", *NEW_KEYS}
}
