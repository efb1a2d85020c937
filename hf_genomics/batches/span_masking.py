"""Collate windows for pretraining: tokenise them and mask spans of consecutive tokens.

All random numbers are pure functions of (seed, epoch, window index, position), see ``chance.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from ..sequence import IGNORE_INDEX, ranges
from .chance import Stream, happens, random_bits, random_bits_at, row_keys, uniform
from .dose import (
    Spans,
    chosen_rates,
    chosen_spans,
    describe_spans,
    length_probabilities,
    masking_fractions,
    start_rate_hiding,
    unknown_fraction,
)
from .masking import draw_starts, draw_starts_by_rate, span_places
from .packing import pack_rows
from .rows import attention_mask, column_of, content_hash, encode_rows

#: Largest span, packed row or padding, in tokens; far longer than any window that a model reads.
_MOST_TOKENS = 2**22


@dataclass
class DataCollatorForSpanMasking:
    """Tokenise windows and mask spans of consecutive tokens.

    A *masked* token is one to predict; it is shown as [MASK], as a random k-mer, or unchanged. Every window with a
    maskable token gets at least one span; one without has no labels. Special tokens and [UNK] are
    never masked.

    Args:
        tokenizer: any tokenizer with a mask token; a KmerTokenizer reads letters fastest. A span is counted in tokens:
            which nucleotides it hides is known for k-mers only (see ``describe``).
        span: length of all spans in tokens; 6 if no other setting defines the length of spans.
        start_rate: probability that a token starts a span; 0.025 if ``hidden_fraction`` is not given either.
        replacement: choose between [MASK], random and unchanged once for each stretch of masked tokens ("span": no
            unchanged neighbour reveals a hidden letter; overlapping or touching spans are one stretch) or for each
            token ("token", as in DNABERT).
        mask_share: share of masked tokens shown as [MASK].
        random_share: share of masked tokens shown as a random k-mer; the rest is shown unchanged. An unchanged token
            hides nothing, a random one misleads; both are predicted like tokens shown as [MASK].
        seed: seed of all random numbers.
        epoch: epoch of rows without an ``epoch`` of their own; see ``set_epoch``.
        pad_to_multiple_of: round the width of a batch up to a multiple of this.
        hidden_fraction: share of nucleotides that no visible token shows; set it instead of ``start_rate``, which is
            computed from it, exactly for any k and stride. It is the share (the dose) far from the ends of a window,
            where all k-mers that can cover a nucleotide exist, and before ``replacement`` (see ``dose.py``).
        span_lengths: probability of each length of a span in tokens, such as ``{6: 0.5, 12: 0.5}``.
        span_geometric: probability that a span ends after each of its tokens, for geometric lengths of 1 to
            ``span_cap`` tokens (SpanBERT: 0.2).
        span_cap: length of the longest span of that distribution in tokens.
        schedule: later values of start_rate (or of hidden_fraction, if that is set), by the optimiser step
            from which each applies, such as ``{100000: 0.0365}``; steps count from 0. `pretrain` gives each row its
            step in ``step``; rows without it, such as windows of the validation set, are masked as in step 0.
        pack_to: put several windows of a batch into rows of this many tokens, so that almost no token is padding (see
            ``packing.py``); 0 makes one row of all windows, without padding; null keeps one padded window in each row.
            Masks do not depend on it.

    Raises:
        ValueError: if a number is out of range, two settings contradict each other, no span is long enough for
            ``hidden_fraction``, the tokenizer has no mask or padding token, or a row has neither letters nor ids.

    Source: DNABERT (Ji et al. 2021), pretraining (spans; more tokens masked from step 100,000 on); GenomeNet-BERT
    section 2 and Figure 1; SpanBERT (Joshi et al. 2020) for geometric spans.
    """

    # A `MaskingTokenizer`; without this annotation, because the command line would offer to build one from options.
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
    _rates: dict[int, float] = field(init=False, repr=False)  # start rate from each step on
    _longest: int = field(init=False, repr=False)  # tokens of the longest span
    _shorter: np.ndarray = field(init=False, repr=False)  # probability of a span shorter than 1, 2, ... tokens
    _mask_id: int = field(init=False, repr=False)
    _maskable: np.ndarray = field(init=False, repr=False)  # bool (vocabulary,)
    _allowed: np.ndarray = field(init=False, repr=False)  # ids that may be masked, and shown as random tokens

    def __post_init__(self) -> None:
        """Check the settings and look up which ids may be masked."""
        self._check_bounds()
        self._spans = chosen_spans(self.span, self.span_lengths, self.span_geometric, self.span_cap)
        self._rates = chosen_rates(self.start_rate, self.hidden_fraction, self.schedule, self._rate_hiding)
        # For span_lengths {1: 0.5, 3: 0.5}, spans of 0 to 3 tokens have the probabilities [0, 0.5, 0, 0.5], and spans
        # shorter than 1, 2 and 3 tokens [0, 0.5, 0.5].
        self._shorter = np.cumsum(length_probabilities(self._spans))[:-1]
        self._longest = len(self._shorter)
        self._check()
        self._mask_id = self.tokenizer.mask_token_id  # looked up once: a tokenizer searches it every time
        self._maskable = np.ones(len(self.tokenizer), bool)
        self._maskable[self.tokenizer.all_special_ids] = False
        self._allowed = np.flatnonzero(self._maskable)

    def _check_bounds(self) -> None:
        """Check the numbers of tokens that set the sizes of arrays."""
        for name in ("span", "span_cap", "pack_to", "pad_to_multiple_of"):
            value = getattr(self, name)
            if isinstance(value, int) and value > _MOST_TOKENS:
                raise ValueError(f"{name} must be at most {_MOST_TOKENS:,} tokens, not {value}")
        if self.pad_to_multiple_of is not None and self.pad_to_multiple_of < 1:
            raise ValueError(f"pad_to_multiple_of must be at least 1, or null, not {self.pad_to_multiple_of}")

    def _check(self) -> None:
        """Check the settings that `chosen_spans` and `chosen_rates` do not check."""
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
                "rows; omit one of them"
            )
        if self.tokenizer.mask_token_id is None:
            raise ValueError(f"the tokenizer ({type(self.tokenizer).__name__}) has no mask token; set its mask_token")

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of rows without an ``epoch`` of their own."""
        self.epoch = epoch

    def _rate_hiding(self, hidden_fraction: float) -> float:
        """Compute the start rate that hides a share of nucleotides."""
        k, stride = (getattr(self.tokenizer, name, None) for name in ("k", "stride"))
        if k is None or stride is None:
            raise ValueError(
                f"hidden_fraction needs k-mers of known k and stride, which a {type(self.tokenizer).__name__} does not "
                "have; give start_rate"
            )
        return start_rate_hiding(hidden_fraction, self._spans, k, stride)

    def describe(self, k: int, stride: int = 1) -> str:
        """Describe in one line what the masking hides.

        Args:
            k: k-mer size in nt.
            stride: nt from the start of one k-mer to the start of the next.
        """
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
        return f"{describe_spans(self._spans)}, replacement drawn per {self.replacement}, {'; '.join(doses)}"

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Build a batch.

        Args:
            features: rows with ``sequence`` (letters or text) or ``input_ids`` and, optionally, ``window_index``,
                ``epoch`` and ``step``; a row without an index is identified by a hash of its tokens.

        Returns:
            ``input_ids``, ``attention_mask`` and ``labels``, int64 (rows, tokens) each; labels are -100 where nothing
            is to be predicted. If windows are packed, also ``position_ids``, which restart at 0 in each window.
        """
        ids, lengths = encode_rows(self.tokenizer, features, self.pad_to_multiple_of)
        index, epoch = column_of(features, "window_index", -1), column_of(features, "epoch", self.epoch)
        if (index < 0).any():
            index = np.where(index < 0, content_hash(ids, lengths), index)
        shown, labels = self.mask(ids, index, epoch, column_of(features, "step", 0) if self.schedule else None)
        columns = {"input_ids": shown, "labels": labels}
        if self.pack_to is None:
            columns["attention_mask"] = attention_mask(lengths, ids.shape[1])
        else:  # after masking, so that packing does not change the masks
            columns = pack_rows(columns, lengths, self.pack_to or None, fill={"input_ids": self.tokenizer.pad_token_id})
        return {name: torch.from_numpy(column) for name, column in columns.items()}

    def mask(
        self, ids: np.ndarray, index: np.ndarray, epoch: np.ndarray, step: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mask ids in place.

        Args:
            ids: int64 (rows, tokens); masked tokens are replaced in it (in a copy, if it is not contiguous).
            index: integer (rows,), indices of the windows.
            epoch: integer (rows,), their epochs.
            step: integer (rows,), their optimiser steps; by default rows are masked as in step 0.

        Returns:
            The ids as the model sees them; and labels, -100 where nothing is to be predicted.
        """
        ids = np.ascontiguousarray(ids)  # it is written through flat views
        keys, labels = row_keys(self.seed, epoch, index), np.full(ids.shape, IGNORE_INDEX)
        places, edges = self.choose(ids, keys, step)
        hidden = ids.reshape(-1)[places]
        labels.reshape(-1)[places] = hidden
        ids.reshape(-1)[places] = self._mask_id
        self._replace_some(ids, places, edges, hidden, keys)
        return ids, labels

    def choose(
        self, ids: np.ndarray, keys: np.ndarray, step: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose the tokens to mask, at least one in each row that has a maskable token.

        Args:
            ids: int64 (rows, tokens).
            keys: uint64 (rows,), as `row_keys` returns them.
            step: integer (rows,), optimiser steps; by default all rows are masked as in step 0.

        Returns:
            Places: row * tokens + column of each chosen token, int64 (masked,), ascending (one number per token is
            several times faster than two); and how many places come before each row and before the end, int64
            (rows + 1,).
        """
        tokens = ids.shape[1]
        # A span may start before the first token: the start in column j is that of token j - (longest - 1).
        columns = tokens + self._longest - 1
        if step is None:  # no schedule, so all rows have one rate
            starts = draw_starts(keys, self._rates[0], columns)
        else:
            phase = np.searchsorted(list(self._rates), step, side="right") - 1
            starts = draw_starts_by_rate(keys, np.array(list(self._rates.values()))[phase], columns)
        places = self._maskable_places(ids, *starts, keys)
        borders = np.arange(len(ids) + 1) * tokens
        edges = np.searchsorted(places, borders)
        without = np.flatnonzero(edges[1:] == edges[:-1])
        if len(without):
            places = np.sort(np.concatenate([places, self._forced_places(ids, without, keys)]))
            edges = np.searchsorted(places, borders)
        return places, edges

    def _maskable_places(self, ids: np.ndarray, rows: np.ndarray, starts: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Find the maskable tokens under spans, drawing the length of each span if lengths differ."""
        lengths = None
        if not isinstance(self._spans, int):
            draws = uniform(random_bits_at(keys, Stream.SPAN_LENGTH, rows, starts))
            # With the probabilities [0, 0.5, 0.5], a draw below 0.5 gives a span of 1 token, any other one of 3 tokens.
            lengths = np.searchsorted(self._shorter, draws, side="right")
        places = span_places(rows, starts, self._longest, ids.shape[1], lengths)
        return places[self._maskable[ids.reshape(-1)[places]]]

    def _forced_places(self, ids: np.ndarray, rows: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Place one span in each row that would otherwise have none, starting at a random maskable token."""
        maskable = self._maskable[ids[rows]]
        draws = random_bits(keys[rows], Stream.FORCED_SPAN, ids.shape[1])
        chosen = np.where(maskable, draws, 0).argmax(1)  # the maskable token with the largest random number
        starts = chosen + self._longest - 1  # its column among the starts, see `choose`
        some = maskable.any(1)
        return self._maskable_places(ids, rows[some], starts[some], keys)

    def _replace_some(
        self, ids: np.ndarray, places: np.ndarray, edges: np.ndarray, hidden: np.ndarray, keys: np.ndarray
    ) -> None:
        """Replace some of the [MASK] by random k-mers or by the tokens that were there, in place.

        Args:
            ids: int64 (rows, tokens), with [MASK] at all places.
            places: int64 (masked,), as `choose` returns them.
            edges: int64 (rows + 1,), as `choose` returns them.
            hidden: int64 (masked,), the ids before masking.
            keys: uint64 (rows,), as `row_keys` returns them.
        """
        first = self._group_starts(places, edges)
        counts = np.diff(first, append=len(places))
        bits = random_bits_at(keys, Stream.REPLACEMENT, *_rows_and_columns(places[first], ids.shape[1]))
        # One number in [0, 1) decides: below mask_share [MASK], up to mask_share + random_share random, else unchanged.
        groups = np.flatnonzero(~happens(bits, self.mask_share))  # not shown as [MASK]
        replaced = ranges(first[groups], counts[groups])
        places, values = places[replaced], hidden[replaced]
        is_random = np.repeat(happens(bits[groups], self.mask_share + self.random_share), counts[groups])
        noise = random_bits_at(keys, Stream.RANDOM_TOKEN, *_rows_and_columns(places[is_random], ids.shape[1]))
        values[is_random] = self._allowed[noise % np.uint64(len(self._allowed))]
        ids.reshape(-1)[places] = values

    def _group_starts(self, places: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Index the first token of each group that shares one replacement: a stretch of masked tokens, or one token.

        Args:
            places: int64 (masked,), as `choose` returns them.
            edges: int64 (rows + 1,), as `choose` returns them.

        Returns:
            int64 (groups,), positions in ``places``.
        """
        if self.replacement == "token":
            return np.arange(len(places))
        begins = np.ones(len(places), bool)
        np.not_equal(places[1:], places[:-1] + 1, out=begins[1:])
        # The last token of a row and the first token of the next row are not neighbours.
        begins[edges[edges < len(places)]] = True
        return np.flatnonzero(begins)


def _rows_and_columns(places: np.ndarray, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Split row * tokens + column; in numpy, // by a scalar is several times faster than divmod."""
    rows = places // tokens
    return rows, places - rows * tokens
