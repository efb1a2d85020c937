"""From windows to model inputs: consecutive-token masking for pretraining, padded batches for everything else.

All chance is a pure function of (seed, epoch, window index, position), see ``chance.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from ..sequence import as_letters, reverse_complement
from .chance import happens, mix, random_bits, random_bits_at
from .masking import draw_starts, mask_spans, masking_fractions

IGNORED = -100

# One stream of random numbers for each kind of decision.
_FORCED, _ACTION, _RANDOM_ID, _STRAND = range(1, 5)


@dataclass
class DataCollatorForSpanMasking:
    """Tokenise windows and mask spans of consecutive tokens.

    Args:
        tokenizer: any tokenizer with a mask token; a KmerTokenizer reads letters fastest. A span is counted in tokens:
            what it hides in nucleotides is known (see ``describe``) for k-mers only.
        span: tokens masked in a row.
        start_rate: chance that a token starts a span.
        replacement: draw mask / random / keep once per run of masked tokens ("span": no kept neighbour leaks a hidden
            letter) or for each token by itself ("token": DNABERT's way).
        mask_share, random_share: share of masked tokens shown as [MASK], as a random k-mer; the rest is shown as it is.
        seed: of all draws.
        epoch: used for rows that do not bring their own; see ``set_epoch``.
        pad_to_multiple_of: round the width of a batch up.

    Every row that has a maskable token gets at least one span; a row without any has no labels. Special tokens
    and [UNK] are never masked.

    Raises:
        ValueError: if a number is out of range, the tokenizer has no mask or padding token, or a row has neither
            letters nor ids.

    Source: DNABERT (Ji et al. 2021), pretraining; GenomeNet-BERT section 2 and Figure 1.
    """

    tokenizer: Any
    span: int = 6
    start_rate: float = 0.025
    replacement: Literal["span", "token"] = "span"
    mask_share: float = 0.8
    random_share: float = 0.1
    seed: int = 0
    epoch: int = 0
    pad_to_multiple_of: int | None = None
    _maskable: np.ndarray = field(init=False, repr=False)
    _allowed: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the numbers and note which ids may be masked."""
        if self.span < 1:
            raise ValueError(f"span must be at least 1 token, not {self.span}")
        if not 0 < self.start_rate < 1:
            raise ValueError(f"start_rate must lie between 0 and 1, not {self.start_rate}")
        if self.replacement not in ("span", "token"):
            raise ValueError(f'replacement must be "span" or "token", not {self.replacement!r}')
        if min(self.mask_share, self.random_share) < 0 or self.mask_share + self.random_share > 1:
            raise ValueError(
                f"mask_share ({self.mask_share}) and random_share ({self.random_share}) must be at least 0 "
                "and together at most 1"
            )
        if self.tokenizer.mask_token_id is None:
            raise ValueError(f"the tokenizer ({type(self.tokenizer).__name__}) has no mask token; give it one")
        self._maskable = np.ones(len(self.tokenizer), bool)
        self._maskable[self.tokenizer.all_special_ids] = False
        self._allowed = np.flatnonzero(self._maskable)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the rows belong to that do not bring an ``epoch`` of their own."""
        self.epoch = epoch

    def describe(self, k: int, stride: int = 1) -> str:
        """Say in one line what the masking hides."""
        tokens, hidden = masking_fractions(self.span, self.start_rate, k, stride)
        return (
            f"spans of {self.span} tokens, start rate {self.start_rate:.4%}: {tokens:.2%} of tokens masked, "
            f"{hidden:.2%} of nucleotides hidden (replacement drawn per {self.replacement})"
        )

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Make a batch from rows with ``sequence`` (letters or text) or ``input_ids``, and, where they have them,
        ``window_index`` and ``epoch``; a row without an index is known by a hash of its tokens.

        Returns:
            input_ids, attention_mask, labels: int64 (rows, tokens); labels are -100 where nothing is to be predicted.
        """  # noqa: D205 (one sentence over two lines)
        ids, lengths = encode_features(self.tokenizer, features, self.pad_to_multiple_of)
        index = np.array([feature.get("window_index", -1) for feature in features], np.int64)
        if (index < 0).any():
            index = np.where(index < 0, _content_hash(ids, lengths), index)
        epoch = np.array([feature.get("epoch", self.epoch) for feature in features], np.int64)
        shown, labels = self.mask(ids, index, epoch)
        attention_mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
        columns = {"input_ids": shown, "attention_mask": attention_mask, "labels": labels}
        return {name: torch.from_numpy(column) for name, column in columns.items()}

    def mask(self, ids: np.ndarray, index: np.ndarray, epoch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mask ids; all int64 (rows, tokens), index and epoch (rows,). Returns what is shown, and the labels."""
        masked = self.choose(self._maskable[ids], index, epoch)
        places = np.flatnonzero(masked)  # one number per place is several times faster to find and to use than two
        rows, columns = np.divmod(places, ids.shape[1])
        action = self._actions(rows, columns, index, epoch)
        shown, labels = ids.copy(), np.full(ids.shape, IGNORED)
        labels.reshape(-1)[places] = ids.reshape(-1)[places]
        shown.reshape(-1)[places[action == 0]] = self.tokenizer.mask_token_id
        turned = action == 1
        noise = random_bits_at(self.seed, epoch, index, _RANDOM_ID, rows[turned], columns[turned])
        shown.reshape(-1)[places[turned]] = self._allowed[noise % np.uint64(len(self._allowed))]
        return shown, labels

    def choose(self, maskable: np.ndarray, index: np.ndarray, epoch: np.ndarray) -> np.ndarray:
        """Choose the tokens to mask, bool (rows, tokens); each row with a maskable token gets at least one."""
        columns = maskable.shape[1] + self.span - 1
        starts = draw_starts(self.seed, epoch, index, self.start_rate, columns)
        masked = mask_spans(maskable, starts)
        bare = np.flatnonzero(~masked.any(1) & maskable.any(1))
        if len(bare):
            draws = random_bits(self.seed, epoch[bare], index[bare], _FORCED, maskable.shape[1])
            chosen = np.where(maskable[bare], draws, 0).argmax(1)
            forced = np.zeros((len(bare), columns), bool)
            forced[np.arange(len(bare)), chosen + self.span - 1] = True
            masked[bare] = mask_spans(maskable[bare], forced)
        return masked

    def _actions(self, rows: np.ndarray, columns: np.ndarray, index: np.ndarray, epoch: np.ndarray) -> np.ndarray:
        """Decide for each masked token, (places,): 0 shown as [MASK], 1 as a random k-mer, 2 as it is."""
        if self.replacement == "token":
            return self._action_at(rows, columns, index, epoch)
        begins = np.ones(len(rows), bool)
        begins[1:] = (np.diff(rows) != 0) | (
            np.diff(columns) != 1
        )  # a run ends where the next place is not its neighbour
        return self._action_at(rows[begins], columns[begins], index, epoch)[np.cumsum(begins) - 1]

    def _action_at(self, rows: np.ndarray, columns: np.ndarray, index: np.ndarray, epoch: np.ndarray) -> np.ndarray:
        bits = random_bits_at(self.seed, epoch, index, _ACTION, rows, columns)
        return 2 - happens(bits, self.mask_share).astype(np.int8) - happens(bits, self.mask_share + self.random_share)


@dataclass
class DataCollatorForSequences:
    """Tokenise labelled or unlabelled sequences and pad them to the longest of the batch.

    Args:
        tokenizer: any tokenizer with a padding token; a KmerTokenizer reads letters fastest.
        rc_probability: chance to show the opposite strand of a row that does not say ``keep_strand`` (training only: a
            free augmentation where the label belongs to both strands); a pure function of (seed, epoch, window index).
        seed, epoch: of that draw; rows may bring their own ``epoch``.
        num_windows: cut every sequence into so many parts of (nearly) equal length, for hierarchical models.
        pad_to_multiple_of: round the width of a batch up.
    """

    tokenizer: Any
    rc_probability: float = 0.0
    seed: int = 0
    epoch: int = 0
    num_windows: int = 1
    pad_to_multiple_of: int | None = None

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the rows belong to that do not bring an ``epoch`` of their own."""
        self.epoch = epoch

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Make a batch; ``label`` (or ``labels``) becomes ``labels``: int64 classes or float32 values.

        Returns:
            input_ids, attention_mask: int64 (rows, tokens), or (rows, num_windows, tokens) for more than one window;
            labels, (rows,) or (rows, labels), where the rows have them.
        """
        if self.rc_probability:
            features = self._some_turned(features)
        ids, lengths = encode_features(self.tokenizer, self._parts(features), self.pad_to_multiple_of)
        attention_mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
        shape = (len(features), self.num_windows, -1) if self.num_windows > 1 else ids.shape
        batch = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(attention_mask)}
        batch = {name: column.reshape(shape) for name, column in batch.items()}
        name = next((name for name in ("labels", "label") if name in features[0]), None)
        if name:
            labels = np.stack([np.asarray(feature[name]) for feature in features])
            batch["labels"] = torch.from_numpy(labels.astype(np.int64 if labels.dtype.kind in "iub" else np.float32))
        return batch

    def _parts(self, features: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.num_windows == 1:
            return features
        letters = (as_letters(feature["sequence"]) for feature in features)
        return [{"sequence": part} for whole in letters for part in np.array_split(whole, self.num_windows)]

    def _some_turned(self, features: list[dict[str, Any]]) -> list[dict[str, Any]]:
        index = np.array([feature["window_index"] for feature in features], np.int64)
        epoch = np.array([feature.get("epoch", self.epoch) for feature in features], np.int64)
        turn = happens(random_bits(self.seed, epoch, index, _STRAND, 1)[:, 0], self.rc_probability)
        turn &= ~np.array([feature.get("keep_strand", False) for feature in features], bool)
        return [
            {**feature, "sequence": reverse_complement(feature["sequence"])} if turned else feature
            for feature, turned in zip(features, turn.tolist(), strict=True)
        ]


def encode_features(
    tokenizer: Any, features: list[dict[str, Any]], multiple_of: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Turn rows with ``sequence`` or ``input_ids`` into padded ids, int64 (rows, tokens), and their lengths, (rows,).

    Raises:
        ValueError: if a row has neither, or if a sequence holds a character that is no nucleotide code.
    """
    if tokenizer.pad_token_id is None:
        raise ValueError(f"the tokenizer ({type(tokenizer).__name__}) has no padding token; give it one")
    if "sequence" in features[0]:
        ids, lengths = _encode(tokenizer, [as_letters(feature["sequence"]) for feature in features])
    elif "input_ids" in features[0]:
        rows = [np.asarray(feature["input_ids"], np.int64) for feature in features]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        if (lengths == lengths[0]).all():
            ids = np.stack(rows)
        else:
            ids = np.full((len(rows), int(lengths.max())), tokenizer.pad_token_id, np.int64)
            ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.concatenate(rows)
    else:
        raise ValueError(f'rows need "sequence" or "input_ids"; these have {sorted(features[0])}')
    short = -ids.shape[1] % multiple_of if multiple_of else 0
    if short:
        ids = np.pad(ids, ((0, 0), (0, short)), constant_values=tokenizer.pad_token_id)
    return ids, lengths


def _encode(tokenizer: Any, rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Let a KmerTokenizer read letters as they are, any other tokenizer text."""
    if hasattr(tokenizer, "encode_batch"):
        return tokenizer.encode_batch(rows)
    texts = [row.tobytes().decode("latin-1") for row in rows]
    batch = tokenizer(texts, padding=True, padding_side="right", return_attention_mask=True, return_tensors="np")
    return batch["input_ids"].astype(np.int64), batch["attention_mask"].sum(1)


def _content_hash(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Hash each row's tokens, padding left out, int64 (rows,)."""
    weights = mix(np.arange(1, ids.shape[1] + 1, dtype=np.uint64))
    tokens = np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, 0).astype(np.uint64)
    with np.errstate(over="ignore"):
        return (mix((tokens * weights).sum(1)) >> np.uint64(1)).astype(np.int64)
