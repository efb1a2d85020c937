"""From windows to model inputs: consecutive-token masking for pretraining, padded batches for everything else.

All chance is a pure function of (seed, epoch, window index, position), see ``chance.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from ..sequence import as_letters, reverse_complement
from .chance import happens, random_bits, random_bits_at, row_keys, uniform
from .dose import (
    Spans,
    chosen_rates,
    chosen_spans,
    length_chances,
    masking_fractions,
    name_spans,
    start_rate_hiding,
    unknown_fraction,
)
from .masking import draw_starts, draw_starts_of, ranges, span_places
from .packed_rows import pack_rows
from .rows import attention_mask, column_of, content_hash, encode_rows

IGNORED = -100

# One stream of random numbers for each kind of decision.
_FORCED, _ACTION, _RANDOM_ID, _STRAND, _LENGTH = range(1, 6)


@dataclass
class DataCollatorForSpanMasking:
    """Tokenise windows and mask spans of consecutive tokens.

    Args:
        tokenizer: any tokenizer with a mask token; a KmerTokenizer reads letters fastest. A span is counted in tokens:
            what it hides in nucleotides is known (see ``describe``) for k-mers only.
        span: tokens masked in a row; 6 where no other setting says how long spans are.
        start_rate: chance that a token starts a span; 0.025 where ``hidden_fraction`` is not given either.
        hidden_fraction: share of nucleotides that no visible token shows, instead of ``start_rate``, which is derived
            from it, exactly for any k and stride. It is the share far from a window's ends, where each nucleotide lies
            under all k-mers that can cover it, and of tokens chosen, before ``replacement`` (see ``dose.py``).
        span_lengths: lengths of spans in tokens with their probabilities, such as ``{6: 0.5, 12: 0.5}``.
        span_geometric: probability of geometric span lengths, 1 to ``span_cap`` tokens (SpanBERT: 0.2).
        span_cap: the longest span of that distribution.
        schedule: another start_rate (or hidden_fraction, where that is given) from an optimiser step on, counted from
            0, such as ``{100000: 0.0365}``. Rows say in ``step`` which step they belong to, as those of `pretrain` do;
            rows that do not, such as windows to validate on, are masked as in step 0.
        replacement: draw mask / random / keep once per run of masked tokens ("span": no kept neighbour leaks a hidden
            letter) or for each token by itself ("token": DNABERT's way).
        mask_share, random_share: share of masked tokens shown as [MASK], as a random k-mer; the rest is shown as it is.
            A kept token hides nothing, a random one misleads; both are predicted like the others.
        seed: of all draws.
        epoch: used for rows that do not bring their own; see ``set_epoch``.
        pad_to_multiple_of: round the width of a batch up.
        pack_to: put the windows of a batch into rows of so many tokens, several in a row, so that hardly a token is
            padding (see ``packed_rows.py``); 0 makes one row of them all, without any; null keeps one window in a row,
            padded. Masks do not depend on it.

    Every row that has a maskable token gets at least one span; a row without any has no labels. Special tokens
    and [UNK] are never masked.

    Raises:
        ValueError: if a number is out of range, two settings contradict each other, no start rate hides the share, the
            tokenizer has no mask or padding token, or a row has neither letters nor ids.

    Source: DNABERT (Ji et al. 2021), pretraining (spans; more tokens masked from step 100,000 on); GenomeNet-BERT
    section 2 and Figure 1; SpanBERT (Joshi et al. 2020) for geometric spans.
    """

    tokenizer: Any
    span: int | None = None
    start_rate: float | None = None
    replacement: Literal["span", "token"] = "span"
    mask_share: float = 0.8
    random_share: float = 0.1
    seed: int = 0
    epoch: int = 0
    pad_to_multiple_of: int | None = None
    hidden_fraction: float | None = None
    span_lengths: dict[int, float] | None = None
    span_geometric: float | None = None
    span_cap: int = 10
    schedule: dict[int, float] | None = None
    pack_to: int | None = None
    _spans: Spans = field(init=False, repr=False)
    _rates: dict[int, float] = field(init=False, repr=False)
    _longest: int = field(init=False, repr=False)
    _length_edges: np.ndarray = field(init=False, repr=False)
    _mask_id: int = field(init=False, repr=False)
    _maskable: np.ndarray = field(init=False, repr=False)
    _allowed: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the numbers and note which ids may be masked."""
        self._spans = chosen_spans(self.span, self.span_lengths, self.span_geometric, self.span_cap)
        self._rates = chosen_rates(self.start_rate, self.hidden_fraction, self.schedule, self._rate_hiding)
        self._length_edges = np.cumsum(length_chances(self._spans))[:-1]
        self._longest = len(self._length_edges)
        if self.replacement not in ("span", "token"):
            raise ValueError(f'replacement must be "span" or "token", not {self.replacement!r}')
        if min(self.mask_share, self.random_share) < 0 or self.mask_share + self.random_share > 1:
            raise ValueError(
                f"mask_share ({self.mask_share}) and random_share ({self.random_share}) must be at least 0 "
                "and together at most 1"
            )
        if self.pack_to is not None and (self.pack_to < 0 or self.pad_to_multiple_of):
            raise ValueError(
                f"pack_to must be 0 or a number of tokens, not {self.pack_to}, and pad_to_multiple_of is for padded "
                "rows; leave one of them away"
            )
        if self.tokenizer.mask_token_id is None:
            raise ValueError(f"the tokenizer ({type(self.tokenizer).__name__}) has no mask token; give it one")
        self._mask_id = self.tokenizer.mask_token_id  # a tokenizer looks it up anew every time
        self._maskable = np.ones(len(self.tokenizer), bool)
        self._maskable[self.tokenizer.all_special_ids] = False
        self._allowed = np.flatnonzero(self._maskable)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the rows belong to that do not bring an ``epoch`` of their own."""
        self.epoch = epoch

    def _rate_hiding(self, hidden_fraction: float) -> float:
        k, stride = (getattr(self.tokenizer, name, None) for name in ("k", "stride"))
        if k is None or stride is None:
            raise ValueError(
                f"hidden_fraction needs k-mers of known k and stride, which a {type(self.tokenizer).__name__} does not "
                "have; give start_rate"
            )
        return start_rate_hiding(hidden_fraction, self._spans, k, stride)

    def describe(self, k: int, stride: int = 1) -> str:
        """Say in one line what the masking hides."""
        keep = max(0.0, 1 - self.mask_share - self.random_share)
        doses = []
        for step, rate in self._rates.items():
            tokens, hidden = masking_fractions(self._spans, rate, k, stride)
            unknown = unknown_fraction(
                self._spans, rate, k, stride, keep_share=keep, per_span=self.replacement == "span"
            )
            doses.append(
                (f"from step {step:,} on " if step else "")
                + f"start rate {rate:.4%}: {tokens:.2%} of tokens masked, {hidden:.2%} of nucleotides hidden"
                + f" ({unknown:.2%} once {keep:.0%} are kept per {self.replacement})" * (keep > 0)
            )
        return f"{name_spans(self._spans)}, replacement drawn per {self.replacement}, {'; '.join(doses)}"

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Make a batch from rows with ``sequence`` (letters or text) or ``input_ids``, and, where they have them,
        ``window_index``, ``epoch`` and ``step``; a row without an index is known by a hash of its tokens.

        Returns:
            input_ids, attention_mask, labels: int64 (rows, tokens); labels are -100 where nothing is to be predicted;
            position_ids where windows are packed, which start again with each window.
        """  # noqa: D205 (one sentence over two lines)
        ids, lengths = encode_rows(self.tokenizer, features, self.pad_to_multiple_of)
        index, epoch = column_of(features, "window_index", -1), column_of(features, "epoch", self.epoch)
        if (index < 0).any():
            index = np.where(index < 0, content_hash(ids, lengths), index)
        shown, labels = self.mask(ids, index, epoch, column_of(features, "step", 0) if self.schedule else None)
        columns = {"input_ids": shown, "labels": labels}
        if self.pack_to is None:
            columns["attention_mask"] = attention_mask(lengths, ids.shape[1])
        else:
            columns = pack_rows(columns, lengths, self.pack_to or None, fill={"input_ids": self.tokenizer.pad_token_id})
        return {name: torch.from_numpy(column) for name, column in columns.items()}

    def mask(
        self, ids: np.ndarray, index: np.ndarray, epoch: np.ndarray, step: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mask ids in place.

        Args:
            ids: int64 (rows, tokens); what is masked is replaced in it (in a copy, if it is not contiguous).
            index, epoch: (rows,) of the windows.
            step: (rows,) optimiser steps that the windows belong to; by default they are masked as in step 0.

        Returns:
            the ids, now as they are shown; labels, -100 where nothing is to be predicted.
        """
        ids = np.ascontiguousarray(ids)  # flat views of it are written to
        keys, labels = row_keys(self.seed, epoch, index), np.full(ids.shape, IGNORED)
        places, edges = self.choose(ids, keys, step)
        hidden = ids.reshape(-1)[places]
        labels.reshape(-1)[places] = hidden
        ids.reshape(-1)[places] = self._mask_id
        self._show_some(ids, places, edges, hidden, keys)
        return ids, labels

    def choose(
        self, ids: np.ndarray, keys: np.ndarray, step: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose the tokens to mask, at least one of each row that has a maskable token.

        Returns:
            row * tokens + column of each, (masked,) int64, rising: several times faster to use than two numbers; and
            how many of them are before each row and before the end, (rows + 1,).
        """
        tokens = ids.shape[1]
        columns = tokens + self._longest - 1
        if step is None:
            starts = draw_starts(keys, self._rates[0], columns)
        else:
            phase = np.searchsorted(list(self._rates), step, side="right") - 1
            starts = draw_starts_of(keys, np.array(list(self._rates.values()))[phase], columns)
        places = self._places(ids, *starts, keys)
        borders = np.arange(len(ids) + 1) * tokens
        edges = np.searchsorted(places, borders)
        bare = np.flatnonzero(edges[1:] == edges[:-1])
        if len(bare):
            places = np.sort(np.concatenate([places, self._forced(ids, bare, keys)]))
            edges = np.searchsorted(places, borders)
        return places, edges

    def _places(self, ids: np.ndarray, rows: np.ndarray, starts: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Give the places of maskable tokens under spans, each with a length of its own where these differ."""
        lengths = None
        if not isinstance(self._spans, int):
            draws = uniform(random_bits_at(keys, _LENGTH, rows, starts))
            lengths = np.searchsorted(self._length_edges, draws, side="right")
        places = span_places(rows, starts, self._longest, ids.shape[1], lengths)
        return places[self._maskable[ids.reshape(-1)[places]]]

    def _forced(self, ids: np.ndarray, bare: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Give a span to each of the rows ``bare`` that has a maskable token, starting at one of these."""
        maskable = self._maskable[ids[bare]]
        draws = random_bits(keys[bare], _FORCED, ids.shape[1])
        starts = np.where(maskable, draws, 0).argmax(1) + self._longest - 1
        some = maskable.any(1)
        return self._places(ids, bare[some], starts[some], keys)

    def _show_some(
        self, ids: np.ndarray, places: np.ndarray, edges: np.ndarray, hidden: np.ndarray, keys: np.ndarray
    ) -> None:
        """Show the masked tokens that are not to be [MASK] as random k-mers or as they are, in place."""
        first = self._drawn_together(places, edges)
        counts = np.diff(first, append=len(places))
        bits = random_bits_at(keys, _ACTION, *_rows_and_columns(places[first], ids.shape[1]))
        chosen = np.flatnonzero(~happens(bits, self.mask_share))
        shown = ranges(first[chosen], counts[chosen])
        places, values = places[shown], hidden[shown]
        turned = np.repeat(happens(bits[chosen], self.mask_share + self.random_share), counts[chosen])
        noise = random_bits_at(keys, _RANDOM_ID, *_rows_and_columns(places[turned], ids.shape[1]))
        values[turned] = self._allowed[noise % np.uint64(len(self._allowed))]
        ids.reshape(-1)[places] = values

    def _drawn_together(self, places: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Number the masked tokens at which something begins that is shown alike: a run of neighbours, or a token."""
        if self.replacement == "token":
            return np.arange(len(places))
        begins = np.ones(len(places), bool)
        np.not_equal(places[1:], places[:-1] + 1, out=begins[1:])
        begins[edges[edges < len(places)]] = True
        return np.flatnonzero(begins)


def _rows_and_columns(places: np.ndarray, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Take places apart; numpy divides by one number several times faster than divmod does."""
    rows = places // tokens
    return rows, places - rows * tokens


@dataclass
class DataCollatorForSequences:
    """Tokenise labelled or unlabelled sequences and pad them to the longest of the batch.

    Args:
        tokenizer: any tokenizer with a padding token; a KmerTokenizer reads letters fastest.
        rc_probability: chance to show the opposite strand of a row that does not say ``keep_strand`` (training only: a
            free augmentation where the label belongs to both strands); a pure function of (seed, epoch, window index).
        seed, epoch: of that draw; rows may bring their own ``epoch``.
        num_parts: cut every sequence into so many parts of (nearly) equal length, for hierarchical models.
        part_length: cut every sequence into as many such parts as it needs for none to be longer, in nt, instead.
        pad_to_multiple_of: round the width of a batch up.
    """

    tokenizer: Any
    rc_probability: float = 0.0
    seed: int = 0
    epoch: int = 0
    num_parts: int = 1
    part_length: int | None = None
    pad_to_multiple_of: int | None = None

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the rows belong to that do not bring an ``epoch`` of their own."""
        self.epoch = epoch

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Make a batch; ``label`` (or ``labels``) becomes ``labels``: int64 classes or float32 values.

        Rows may also have ``pair`` (a second sequence), ``nt_labels`` (nt,), ``tracks`` (tracks,) and ``nt_tracks``
        (nt, tracks).

        Returns:
            input_ids, attention_mask: int64 (rows, tokens), or (rows, windows, tokens) where sequences are cut into
            parts, with a mask of 0 for parts that a shorter sequence lacks; token_type_ids for pairs; labels, (rows,),
            (rows, labels) or, -100 beyond a sequence's end, (rows, nt); tracks and nt_tracks, NaN beyond the end.

        Raises:
            ValueError: where labels per nucleotide would have to change strand.
        """
        if not len(features):
            raise ValueError("a batch needs at least one row")
        if self.rc_probability:
            features = self._some_turned(features)
        columns = self._tokens(features) | _beside(features)
        return {name: torch.from_numpy(column) for name, column in columns.items()}

    def _tokens(self, features: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Tokenise; ids and mask are (rows, tokens) or (rows, windows, tokens)."""
        if "pair" in features[0]:
            return encode_pairs(self.tokenizer, features, self.pad_to_multiple_of)
        if self.num_parts == 1 and self.part_length is None:
            ids, lengths = encode_rows(self.tokenizer, features, self.pad_to_multiple_of)
            return {"input_ids": ids, "attention_mask": attention_mask(lengths, ids.shape[1])}
        parts = [self._parts(as_letters(feature["sequence"])) for feature in features]
        flat = [{"sequence": part} for of_row in parts for part in of_row]
        ids, lengths = encode_rows(self.tokenizer, flat, self.pad_to_multiple_of)
        counts = np.array(list(map(len, parts)))
        there = np.arange(counts.max()) < counts[:, None]  # (rows, windows)
        windows = np.full((*there.shape, ids.shape[1]), self.tokenizer.pad_token_id, np.int64)
        seen = np.zeros_like(windows)
        windows[there], seen[there] = ids, attention_mask(lengths, ids.shape[1])
        return {"input_ids": windows, "attention_mask": seen}

    def _parts(self, letters: np.ndarray) -> list[np.ndarray]:
        count = -(-len(letters) // self.part_length) if self.part_length else self.num_parts
        return np.array_split(letters, count)

    def _some_turned(self, features: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        index = np.array([feature["window_index"] for feature in features], np.int64)
        epoch = column_of(features, "epoch", self.epoch)
        turn = happens(random_bits(row_keys(self.seed, epoch, index), _STRAND, 1)[:, 0], self.rc_probability)
        turn &= ~np.array([feature.get("keep_strand", False) for feature in features], bool)
        return [_turned(row) if turned else row for row, turned in zip(features, turn.tolist(), strict=True)]


def _turned(feature: dict[str, Any]) -> dict[str, Any]:
    """Show a row from the opposite strand."""
    if "nt_labels" in feature:
        raise ValueError("labels per nucleotide belong to a strand; set rc_probability to 0")
    turned: dict[str, Any] = {
        name: reverse_complement(feature[name]) for name in ("sequence", "pair") if name in feature
    }
    if "nt_tracks" in feature:
        turned["nt_tracks"] = feature["nt_tracks"][::-1]
    return {**feature, **turned}


def _beside(features: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Collect labels and tracks."""
    columns = {}
    name = next((name for name in ("labels", "label") if name in features[0]), None)
    if name:
        labels = np.stack([np.asarray(feature[name]) for feature in features])
        columns["labels"] = labels.astype(np.int64 if labels.dtype.kind in "iub" else np.float32)
    if "nt_labels" in features[0]:
        columns["labels"] = pad_rows([feature["nt_labels"] for feature in features], IGNORED)
    if "tracks" in features[0]:
        columns["tracks"] = np.stack([feature["tracks"] for feature in features]).astype(np.float32)
    if "nt_tracks" in features[0]:
        rows = [np.asarray(feature["nt_tracks"], np.float32) for feature in features]
        columns["nt_tracks"] = pad_rows(rows, np.nan)
    return columns


def pad_rows(rows: list[np.ndarray], filler: float) -> np.ndarray:
    """Stack arrays of different lengths: (nt, ...) each, to (rows, longest, ...)."""
    padded = np.full((len(rows), max(map(len, rows)), *rows[0].shape[1:]), filler, rows[0].dtype)
    for row, values in enumerate(rows):
        padded[row, : len(values)] = values
    return padded


def encode_pairs(
    tokenizer: Any, features: Sequence[dict[str, Any]], multiple_of: int | None = None
) -> dict[str, np.ndarray]:
    """Tokenise pairs: [CLS] first [SEP] second [SEP], types 0 and 1.

    Args:
        tokenizer: a KmerTokenizer.
        features: rows with ``sequence`` and ``pair``, letters or text.
        multiple_of: round the width up.

    Returns:
        input_ids, token_type_ids, attention_mask: int64 (rows, tokens).
    """
    first, first_lengths = tokenizer.encode_batch([as_letters(feature["sequence"]) for feature in features])
    second, second_lengths = tokenizer.encode_batch([as_letters(feature["pair"]) for feature in features])
    lengths = first_lengths + second_lengths - 1  # the second one without its [CLS]
    width = int(lengths.max())
    width += -width % (multiple_of or 1)
    place = np.arange(width)
    offset = place - first_lengths[:, None] + 1  # in the second sequence
    is_second = (offset > 0) & (place < lengths[:, None])
    ids = np.full((len(features), width), tokenizer.pad_token_id, np.int64)
    row, column = np.nonzero(place < first_lengths[:, None])
    ids[row, column] = first[row, column]
    row, column = np.nonzero(is_second)
    ids[row, column] = second[row, offset[row, column]]
    seen = attention_mask(lengths, width)
    return {"input_ids": ids, "token_type_ids": is_second.astype(np.int64), "attention_mask": seen}
