"""k-mer tokenizer: ids straight from bytes, exact on every input, behind the Hugging Face tokenizer API.

Five special tokens ([PAD] [UNK] [CLS] [SEP] [MASK] = 0..4) stand before the 4^k k-mers in the order A, T, C, G,
first letter slowest: DNABERT's vocabulary. It follows from ``k``, so no vocabulary file is needed and no
dictionary is built to encode.

Policies:
* Lower case is soft-masked DNA and gets the same ids (``return_soft_masked=True`` tells which tokens); U is read as T.
* A k-mer that touches N, an IUPAC code or any other character is [UNK] at its place: positions never shift.
* Blanks are word boundaries and each word is cut into k-mers by itself, so DNABERT's space-separated k-mers
  work as they are.
* A word shorter than ``k`` has no k-mer and gives no token; the last ``(length - k) % stride`` nt have no token
  of their own (``return_uncovered_nt=True`` counts both).
* Text such as "[MASK]" inside a sequence is data like any other, except in the fill-mask pipeline; pass
  ``split_special_tokens=False`` to have it understood elsewhere. Ordinary tokens that were added with ``add_tokens``
  are always understood.
* ``errors="raise"`` refuses characters that are no nucleotide code; the default never raises on text.
* A batch that is mostly [UNK], or whose words are all shorter than ``k``, is warned of once, with the likely cause.
"""

import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
from transformers import AddedToken, BatchEncoding, PreTrainedTokenizer
from transformers.tokenization_utils_base import LARGE_INTEGER, PaddingStrategy, TensorType, TruncationStrategy
from transformers.utils import logging

from .kmer_encoding import (
    CLS,
    NUM_SPECIAL_TOKENS,
    PAD,
    SEP,
    UNK,
    NamedTokens,
    Plan,
    Rows,
    as_text,
    check_letters,
    encode_pieces,
    encode_plain,
    find_tokens,
    has_blank,
    is_sequence,
    mirrored,
    name_tokens,
    overflowing,
    pad_columns,
    pieces_of,
    read_rows,
    spell,
    token_digits,
)
from .sequence import (
    ALPHABET,
    as_letters,
    check_kmer,
    check_vocabulary,
    complement_codes,
    covered_nt,
    num_kmers,
    read_vocabulary,
    vocabulary_k,
)

logger = logging.get_logger(__name__)

# Everything a saved tokenizer_config.json or from_pretrained may bring besides our own arguments. Transformers keeps
# unknown names without a word, so a misspelt `strid=3` would leave the stride at 1.
_FRAMEWORK_ARGUMENTS = frozenset(
    "added_tokens_decoder additional_special_tokens auto_map backend bos_token chat_control_tokens "
    "chat_template clean_up_tokenization_spaces "
    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output do_lower_case eos_token "
    "extra_special_tokens files_loaded is_local local_files_only max_len model_input_names model_max_length "
    "model_specific_special_tokens name_or_path padding_side processor_class response_schema response_template "
    "special_tokens_map_file special_tokens_pattern split_special_tokens token_type_ids_include_special_tokens "
    "token_type_ids_pattern tokenizer_class tokenizer_file truncation_side trust_remote_code verbose vocab_file".split()
)
# What a BertTokenizer saves and that cannot matter once the vocabulary is known to be one of k-mers.
_BERT_ARGUMENTS = frozenset(
    "do_lower_case do_basic_tokenize full_tokenizer_file never_split strip_accents tokenize_chinese_chars "
    "wordpieces_prefix".split()
)
_OWN_ARGUMENTS = "k stride errors allow_gaps allow_large_k pad_token unk_token cls_token sep_token mask_token".split()


class _Call(NamedTuple):
    """The options of a call that concern encoding; see ``PreTrainedTokenizerBase.__call__``."""

    add_special_tokens: bool = True
    padding_strategy: PaddingStrategy = PaddingStrategy.DO_NOT_PAD
    truncation_strategy: TruncationStrategy = TruncationStrategy.DO_NOT_TRUNCATE
    max_length: int | None = None
    stride: int = 0
    is_split_into_words: bool = False
    pad_to_multiple_of: int | None = None
    padding_side: str | None = None
    return_tensors: Any = None
    return_token_type_ids: bool | None = None
    return_attention_mask: bool | None = None
    return_overflowing_tokens: bool = False
    return_special_tokens_mask: bool = False
    return_offsets_mapping: bool = False
    return_length: bool = False
    return_soft_masked: bool = False
    return_uncovered_nt: bool = False
    split_special_tokens: bool | None = None
    errors: str | None = None
    verbose: bool = True


class _Pieces(NamedTuple):
    """Text of a call: pieces, number of each one's sequence, where it stands; and whether the rows are pairs."""

    texts: list[str]
    owner: list[int]
    places: list[str]
    pair: bool


_NEED_TEXT = ("return_offsets_mapping", "return_soft_masked", "return_uncovered_nt")
_OWN_OPTIONS = {"errors", *_NEED_TEXT}
_CALL_OPTIONS = set(_Call._fields)


class KmerTokenizer(PreTrainedTokenizer):
    """Cut DNA into overlapping k-mers.

    Args:
        k: k-mer size in nt, 1..8 (1..12 with ``allow_large_k``).
        stride: nt from the start of one k-mer to the next, 1..k.
        errors: "unk" turns k-mers with an impossible character into [UNK]; "raise" raises ValueError (N and IUPAC
            codes stay [UNK] in both).
        allow_gaps: accept a stride larger than k, which leaves nucleotides that no token shows.
        allow_large_k: accept k of 9..12, vocabularies of 262,149 to 16,777,221 tokens.
        pad_token, unk_token, cls_token, sep_token, mask_token: names of the ids 0..4.
        kwargs: what every Hugging Face tokenizer takes (such as ``model_max_length``, ``padding_side``); other names
            are refused.

    Raises:
        ValueError: if k or stride is out of range, or the names of the special tokens cannot be told apart.
        TypeError: for an argument that no tokenizer knows.

    >>> tokenizer = KmerTokenizer(k=3)
    >>> tokenizer("ACGTN")["input_ids"]
    [2, 16, 50, 1, 3]
    >>> tokenizer.decode([2, 16, 50, 1, 3], skip_special_tokens=True)
    'ACGTN'

    Source: DNABERT (Ji et al. 2021), GenomeNet-BERT section 2 and Figure 1 (stride).
    """

    vocab_files_names = {"vocab_file": "vocab.txt"}  # DNABERT's; our own folders have none
    model_input_names = ["input_ids", "token_type_ids", "attention_mask"]

    def __init__(
        self,
        k: int = 6,
        stride: int = 1,
        errors: str = "unk",
        allow_gaps: bool = False,
        allow_large_k: bool = False,
        pad_token: str = "[PAD]",
        unk_token: str = "[UNK]",
        cls_token: str = "[CLS]",
        sep_token: str = "[SEP]",
        mask_token: str = "[MASK]",
        **kwargs: Any,
    ) -> None:
        _check_kmer(k, stride, allow_gaps, allow_large_k)
        _check_policy(errors)
        _check_arguments(kwargs, type(self))
        self.k, self.stride, self.errors = int(k), int(stride), errors
        self.allow_gaps, self.allow_large_k = allow_gaps, allow_large_k
        self._special_names = [str(token) for token in (pad_token, unk_token, cls_token, sep_token, mask_token)]
        _check_names(self._special_names, self.k)
        kwargs.setdefault("split_special_tokens", True)
        kwargs["special_tokens_pattern"] = "cls_sep"
        super().__init__(
            k=self.k,
            stride=self.stride,
            errors=errors,
            allow_gaps=allow_gaps,
            allow_large_k=allow_large_k,
            pad_token=pad_token,
            unk_token=unk_token,
            cls_token=cls_token,
            sep_token=sep_token,
            mask_token=mask_token,
            **kwargs,
        )

    @classmethod
    def from_pretrained(cls, *arguments: Any, **options: Any) -> Any:
        """Load a saved tokenizer or DNABERT's; see ``PreTrainedTokenizerBase.from_pretrained``.

        Where the package is imported, its code is used. (With ``trust_remote_code=True`` transformers does so for
        configuration and model, but takes the code beside a tokenizer.)
        """
        installed = sys.modules.get("hf_genomics.tokenization_kmer")
        if installed is not None and cls.__module__.startswith("transformers_modules."):
            return installed.KmerTokenizer.from_pretrained(*arguments, **options)
        return super().from_pretrained(*arguments, **options)

    @classmethod
    def convert_to_native_format(cls, **kwargs: Any) -> dict[str, Any]:
        """Complete what from_pretrained has read: the vocabulary of a DNABERT folder says what k is.

        Raises:
            ValueError: if the vocabulary is not DNABERT's, or nothing tells k (a guess could give wrong ids silently).
        """
        kwargs = super().convert_to_native_format(**kwargs)
        vocabulary = kwargs.pop("vocab_file", None) or kwargs.pop("tokenizer_file", None)
        if vocabulary is not None:
            kwargs = {name: value for name, value in kwargs.items() if name not in _BERT_ARGUMENTS}
            kwargs["k"] = _read_k(Path(vocabulary), kwargs.get("k"))
        elif "k" not in kwargs:
            raise ValueError(
                f"{kwargs.get('name_or_path')}: tokenizer_config.json is missing or names no k; save the tokenizer "
                "there, or pass k= and stride="
            )
        return kwargs

    # The vocabulary is arithmetic; a dictionary of it is made only for those who ask.

    @property
    def vocab_size(self) -> int:
        """Number of tokens without the added ones: 4^k + 5."""
        return 4**self.k + NUM_SPECIAL_TOKENS

    def get_vocab(self) -> dict[str, int]:
        """Return the whole vocabulary, token to id, built at every call (4^k entries)."""
        tokens = (self._convert_id_to_token(index) for index in range(self.vocab_size))
        return {token: index for index, token in enumerate(tokens)} | self._added_tokens_encoder

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write nothing: the vocabulary follows from ``k``."""
        return ()

    def _update_total_vocab_size(self) -> None:
        self.total_vocab_size = self.vocab_size + sum(index >= self.vocab_size for index in self._added_tokens_decoder)

    def _add_tokens(self, new_tokens: list, special_tokens: bool = False) -> int:
        """Add tokens behind the k-mers; those that are there already are only marked. See `PreTrainedTokenizer`."""
        known = len(self)
        for token in new_tokens or []:
            if not isinstance(token, str | AddedToken):
                raise TypeError(f"Token {token} is not a string but a {type(token)}.")
            if str(token) and (isinstance(token, AddedToken) or token not in self._added_tokens_encoder):
                self._add_token(token, special_tokens)
        self._update_trie()
        return len(self) - known

    def _add_token(self, token: str | AddedToken, special: bool) -> None:
        if isinstance(token, str):
            special = special or token in self.all_special_tokens
            token = AddedToken(token, normalized=not special, special=special)
        elif special:
            token.__setstate__({"special": True, "normalized": token.normalized})
        name = str(token)
        index = self._added_tokens_encoder.get(name, self._convert_token_to_id(name))
        if index == UNK and name != self._special_names[UNK]:
            index = len(self)
        if token.special and name not in self.all_special_tokens:
            self._extra_special_tokens.append(token)
        self._added_tokens_decoder[index] = token
        self._added_tokens_encoder[name] = index
        self._update_total_vocab_size()

    # The readable route, one string a token; the fast route below gives the same ids (tests hold them together).

    def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
        added = self._ordinary_added_tokens()
        if any(token in text for token in added):  # each stands for itself and ends the word before it
            pieces = re.split(f"({'|'.join(map(re.escape, sorted(added, key=len, reverse=True)))})", text)
            return [token for piece in pieces for token in ([piece] if piece in added else self._kmers(piece))]
        return self._kmers(text)

    def _kmers(self, text: str) -> list[str]:
        kmers = (
            word[start : start + self.k].upper().replace("U", "T")
            for word in text.encode("latin-1", "replace").decode("latin-1").translate(_TO_BLANK).split(" ")
            for start in range(0, len(word) - self.k + 1, self.stride)
        )
        # Named here, because as text a "k-mer" may read like a special token: [PAD] is one for k = 5, [MASK] for k = 6.
        return [self.unk_token if kmer.strip(ALPHABET) else kmer for kmer in kmers]

    def _ordinary_added_tokens(self) -> list[str]:
        return [token.content for index, token in self._added_tokens_decoder.items() if not token.special]

    def _convert_token_to_id(self, token: str) -> int:
        if token in self._special_names:
            return self._special_names.index(token)
        if len(token) != self.k or token.strip(ALPHABET):
            return UNK
        code = 0
        for letter in token:
            code = code * 4 + ALPHABET.index(letter)
        return code + NUM_SPECIAL_TOKENS

    def _convert_id_to_token(self, index: int) -> str:
        if 0 <= index < NUM_SPECIAL_TOKENS:
            return self._special_names[index]
        code = index - NUM_SPECIAL_TOKENS
        if not 0 <= code < 4**self.k:
            return self._special_names[UNK]
        return "".join(ALPHABET[code >> 2 * place & 3] for place in reversed(range(self.k)))

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Give the DNA back: overlapping k-mers are merged, [UNK] is N, other special tokens stand between blanks.

        >>> KmerTokenizer(k=3).convert_tokens_to_string(["ACG", "CGT", "[SEP]", "TTT"])
        'ACGT [SEP] TTT'
        """
        words: list[str] = []
        run: list[str] = []
        for token in tokens:
            if token == self.unk_token or (len(token) == self.k and not token.strip(ALPHABET)):
                run.append(token)
                continue
            words += [*merge_kmers(run, self.k, self.stride), token]
            run = []
        return " ".join(words + merge_kmers(run, self.k, self.stride))

    def _decode(self, token_ids: int | list[int], skip_special_tokens: bool = False, **kwargs: Any) -> str:
        ids = np.atleast_1d(np.asarray(token_ids, np.int64))
        if skip_special_tokens:
            # [UNK] is a place in the sequence, not a mark around it: leaving it out would shift all that follows.
            ids = ids[~np.isin(ids, [index for index in self.all_special_ids if index != UNK])]
        added = self._added_tokens_decoder.items()
        names = {index: token.content for index, token in added if not self._is_place(index)}
        named = np.isin(ids, list(names))
        words: list[str] = []
        for run in np.split(ids, np.flatnonzero(named[1:] | named[:-1]) + 1):
            if len(run):
                words += [names[int(run[0])]] if int(run[0]) in names else self._spell(run)
        return " ".join(words)

    def _is_kmer(self, ids: Any) -> Any:
        return (ids >= NUM_SPECIAL_TOKENS) & (ids < self.vocab_size)

    def _is_place(self, index: int) -> bool:
        """Tell whether an id stands for nucleotides: a k-mer or [UNK]."""
        return index == UNK or self._is_kmer(index)

    def _spell(self, ids: np.ndarray) -> list[str]:
        """Merge k-mers and [UNK] (which is any id that is none of them) into words of DNA."""
        whole = spell(np.where(self._is_kmer(ids), ids, UNK), self.k, self.stride)
        return merge_kmers(self.convert_ids_to_tokens(ids.tolist()), self.k, self.stride) if whole is None else [whole]

    # The fast route.

    def _switch_to_input_mode(self) -> None:
        """Do nothing; transformers looks for this at every call, and finding it is quicker than not."""

    def _encode_plus(self, text: Any, text_pair: Any = None, **options: Any) -> BatchEncoding:
        """Encode a sequence, a pair, or a batch; see ``PreTrainedTokenizerBase.__call__`` for the arguments.

        Sequences are str, bytes or uint8 letters. Besides the usual ones, a call takes:

        Args:
            text, text_pair: as usual.
            options: ``errors`` overrides the tokenizer's own policy; ``return_offsets_mapping`` adds "offset_mapping",
                the nucleotides [start, end) of each token in its text (in its word, for pre-tokenised input), 0-based;
                ``return_soft_masked`` adds "soft_masked", 1 for tokens that cover a lower-case letter;
                ``return_uncovered_nt`` adds "uncovered_nt", the nucleotides of each row that no k-mer shows: the last
                ``(length - k) % stride`` of each word, and words shorter than k.

        Raises:
            ValueError: for what is no sequence, or with ``errors="raise"`` a character that is no nucleotide code.
            TypeError: for an option that there is not.
        """
        call = _Call(**options) if options.keys() <= _CALL_OPTIONS else _checked_call(options)
        _check_policy(call.errors or self.errors)
        plan = self._plan(call)
        simple = text_pair is None and not call.is_split_into_words and not call.return_overflowing_tokens
        rows = self._encode_plain([text] if is_sequence(text) else text, call, plan) if simple else None
        if rows is not None:
            return self._hand_out(rows, call, single=is_sequence(text))
        pairs, single = read_rows(text, text_pair, call.is_split_into_words)
        pieces = self._pieces(pairs, call.is_split_into_words) if pairs else None
        if pieces is None or options.get("sanitize_control_tokens"):
            return self._encode_readably(text, text_pair, options)
        rows, extras = self._encode_pieces(pieces, call, plan, single=single)
        return self._hand_out(rows, call, single=single, extras=extras)

    def _encode_readably(self, text: Any, text_pair: Any, options: dict[str, Any]) -> BatchEncoding:
        """Leave token ids, and chats, to transformers."""
        refused = [name for name in _NEED_TEXT if options.get(name)]
        if refused:
            raise ValueError(f"{refused[0]} needs text, not token ids")
        usual = {name: value for name, value in options.items() if name not in _OWN_OPTIONS}
        return super()._encode_plus(text, text_pair, **usual)

    def _plan(self, call: _Call) -> Plan:
        """Say how the rows of a call are laid out."""
        names = self.model_input_names
        asked = (
            ("token_type_ids", call.return_token_type_ids),
            ("attention_mask", call.return_attention_mask),
            ("special_tokens_mask", call.return_special_tokens_mask),
            ("offset_mapping", call.return_offsets_mapping),
            ("soft_masked", call.return_soft_masked),
            ("uncovered_nt", call.return_uncovered_nt),
        )
        return Plan(
            special=(self._special_id("cls_token"), self._special_id("sep_token")) if call.add_special_tokens else None,
            pad=self._special_id("pad_token"),
            max_length=call.max_length,
            strategy=call.truncation_strategy,
            cut_left=self.truncation_side == "left",
            wanted=frozenset(name for name, wanted in asked if (name in names if wanted is None else wanted)),
        )

    def _special_id(self, name: str) -> int:
        """Look up the id of a special token; quicker than the property."""
        token = self._special_tokens_map[name]
        return PAD if token is None else self._added_tokens_encoder[str(token)]

    def _encode_plain(self, batch: Any, call: _Call, plan: Plan) -> Rows | None:
        """Encode sequences without blanks and named tokens; None if the batch is something else."""
        if not isinstance(batch, list | tuple) or not batch or not _all_sequences(batch):
            return None
        letters = _join(batch)
        digits, highest = token_digits(letters)
        named = self._named_tokens(call)
        if has_blank(highest) or (named and any(named.pattern.search(text) for text in map(as_text, batch))):
            return None
        lengths = np.fromiter(map(len, batch), np.int64, len(batch))
        if highest > 3 and (call.errors or self.errors) == "raise":
            check_letters(letters, digits, lengths, batch)
        return encode_plain(letters, digits, highest, lengths, self.k, self.stride, plan)

    def _pieces(self, rows: list[tuple[Any, Any]], words: bool) -> _Pieces | None:
        """Read rows as pieces of text; None where they hold ids or tokens."""
        pair = any(second is not None for _, second in rows)
        found = _Pieces([], [], [], pair)
        for number, row in enumerate(rows):
            for way, sequence in enumerate(row if pair else row[:1]):
                place = f"row {number + 1}{', second sequence' if way else ''}"
                pieces = pieces_of(sequence, words, place)
                if pieces is None:
                    return None
                found.texts.extend(pieces)
                found.owner.extend([number * (2 if pair else 1) + way] * len(pieces))
                found.places.extend([f"{place}, word {word + 1}" for word in range(len(pieces))] if words else [place])
        return found

    def _encode_pieces(self, pieces: _Pieces, call: _Call, plan: Plan, *, single: bool) -> tuple[Rows, dict[str, Any]]:
        """Encode pieces of text; returns the rows, and the overflowing tokens where they are wanted."""
        places = pieces.places if (call.errors or self.errors) == "raise" else None
        tokens = find_tokens(pieces.texts, self.k, self.stride, self._named_tokens(call), places)
        rows, counts = encode_pieces(tokens, np.array(pieces.owner), plan, pair=pieces.pair)
        if not len(tokens.ids) and tokens.uncovered_nt.any():
            logger.warning_once(_NO_KMERS.format(k=self.k))
        if not call.return_overflowing_tokens:
            return rows, {}
        if pieces.pair and plan.strategy == TruncationStrategy.LONGEST_FIRST:
            raise ValueError(
                "Not possible to return overflowing tokens for pair of sequences with the `longest_first`. "
                "Please select another truncation strategy than `longest_first`, for instance `only_second` or "
                "`only_first`."
            )
        cut = overflowing(tokens.ids, counts, plan, call.stride, pair=pieces.pair)
        if not any(cut[0]) or call.return_tensors:
            return rows, {}
        names = ("overflowing_tokens", "num_truncated_tokens")
        return rows, dict(zip(names, (column[0] for column in cut) if single else cut, strict=True))

    def _named_tokens(self, call: _Call) -> NamedTokens | None:
        """Match the tokens that stand for themselves where they occur in the text of a call."""
        split = self.split_special_tokens if call.split_special_tokens is None else call.split_special_tokens
        if split and _asked_by_fill_mask():
            split = False
        added = self._added_tokens_decoder.items()
        tokens = {token.content: index for index, token in added if not (split and token.special)}
        return name_tokens(tokens, {token.content for _, token in added if token.single_word}) if tokens else None

    def _hand_out(
        self, rows: Rows, call: _Call, *, single: bool, extras: dict[str, Any] | None = None
    ) -> BatchEncoding:
        """Pad the rows as asked, and turn them into lists or tensors.

        As transformers has it: "length" is with padding for a single sequence, without for the rows of a batch.
        """
        longest = rows.columns["input_ids"].shape[1]
        self._eventual_warn_about_too_long_sequence(range(longest), call.max_length, call.verbose)
        padded = call.padding_strategy != PaddingStrategy.DO_NOT_PAD
        left = padded and (call.padding_side or self.padding_side) == "left"
        width = _padded_width(longest, call) if padded else 0
        columns = pad_columns(rows.columns, rows.lengths, width, self._special_id("pad_token"), left=left)
        row_widths = np.maximum(rows.lengths, width)
        per_row = {"length": row_widths if single else rows.lengths} if call.return_length else {}
        if call.return_uncovered_nt:
            per_row["uncovered_nt"] = rows.uncovered_nt
        if call.return_tensors and (width >= longest or (row_widths == longest).all()):
            encoding = _as_asked(columns | per_row, call.return_tensors)
        else:
            encoding = _ragged_encoding(columns | per_row, row_widths, call.return_tensors, left=left, single=single)
        if extras:
            encoding.data.update(extras)
        _warn_if_mostly_unknown(rows)
        return encoding

    # k-mer arithmetic on ids and positions.

    def encode_batch(self, letters: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Encode rows of letters with [CLS] and [SEP].

        Args:
            letters: uint8 letters, one array a row.

        Returns:
            ids, int64 (rows, longest), padded right with [PAD]; number of tokens of each row, int64 (rows,).

        Raises:
            ValueError: if a row holds a character that is no nucleotide code (row and position named).
        """
        rows = list(letters)
        return self.encode_joined(np.concatenate(rows), np.fromiter(map(len, rows), np.int64, len(rows)))

    def encode_joined(self, letters: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encode rows of letters that lie one behind the other: what the collators call.

        Args:
            letters: uint8, (nt of all rows,).
            lengths: nt of each row, int64 (rows,).

        Returns:
            ids, int64 (rows, longest), padded right with [PAD]; number of tokens of each row, int64 (rows,).

        Raises:
            ValueError: if a row holds a character that is no nucleotide code (row and position named).
        """
        digits, highest = token_digits(letters)
        if highest > 3:
            check_letters(letters, digits, lengths)
        plan = Plan((CLS, SEP), PAD, None, TruncationStrategy.DO_NOT_TRUNCATE, False, frozenset())
        rows = encode_plain(letters, digits, highest, lengths, self.k, self.stride, plan)
        _warn_if_mostly_unknown(rows)
        return rows.columns["input_ids"], rows.lengths

    def windows(
        self, sequence: str | bytes | np.ndarray, max_length: int | None = None, overlap: int = 0, **options: Any
    ) -> BatchEncoding:
        """Cut a long sequence into windows that fit a model, and encode them.

        All windows are equally long; the last one is moved back to end where the sequence ends, so all nucleotides of
        a sequence of at least one window are covered. A shorter sequence is one window.

        Args:
            sequence: str, bytes or uint8 letters.
            max_length: tokens of a window, special tokens included; by default ``model_max_length``.
            overlap: nt that neighbouring windows share, at least; less than a window.
            options: as in a call of the tokenizer, such as ``return_tensors``; offsets count from the start of the
                sequence.

        Returns:
            The encoded windows, and "window_start" and "window_end", nt, 0-based, half-open.

        Raises:
            ValueError: if no window length is known, or it leaves no room for a k-mer or for the overlap.
            TypeError: for what is not one sequence, or an option that there is not.

        >>> tokenizer = KmerTokenizer(k=3)
        >>> windows = tokenizer.windows("ACGTTGCA", max_length=4, overlap=1)
        >>> windows["window_start"], windows["window_end"], windows["input_ids"][0]
        ([0, 3, 4], [4, 7, 8], [2, 16, 50, 3])
        """
        self._check_windows(sequence, options)
        letters = as_letters(sequence)
        special = 2 if options.get("add_special_tokens", True) else 0
        nt = self._window_nt(self.model_max_length if max_length is None else max_length, special, overlap)
        count = max(0, -(-(len(letters) - nt) // (nt - overlap))) + 1
        start = np.minimum(np.arange(count) * (nt - overlap), max(0, len(letters) - nt))
        end = np.minimum(start + nt, len(letters))
        rows = [letters[first:last] for first, last in zip(start.tolist(), end.tolist(), strict=True)]
        tensors = options.pop("return_tensors", None)
        columns = self(rows, return_tensors="np", **{"padding": True, **options}).data
        if "offset_mapping" in columns:  # special tokens and padding keep (0, 0)
            shift = start[:, None, None] * (columns["offset_mapping"][..., 1:] > 0)
            columns["offset_mapping"] = columns["offset_mapping"] + shift
        return _as_asked(columns | {"window_start": start, "window_end": end}, tensors)

    def _check_windows(self, sequence: Any, options: dict[str, Any]) -> None:
        known = {*_CALL_OPTIONS, "padding", "truncation"}
        for name in options.keys() - known:
            raise TypeError(f"windows has no option {name!r}{_hint(name, {*known, 'overlap'})}")
        if not is_sequence(sequence):
            raise TypeError(
                f"windows cuts one sequence: give str, bytes or uint8 letters, not {type(sequence).__name__}"
            )
        if (options.get("errors") or self.errors) == "raise":  # here, so that places count from the sequence's start
            split = options.get("split_special_tokens")
            self(sequence, errors="raise", split_special_tokens=split, truncation=True, max_length=2, verbose=False)

    def _window_nt(self, max_length: int, special: int, overlap: int) -> int:
        if isinstance(max_length, bool) or not isinstance(max_length, int | np.integer):
            raise ValueError(f"max_length must be a whole number of tokens, not {max_length!r}")
        if max_length > LARGE_INTEGER:
            raise ValueError("max_length is not given, and the tokenizer has no model_max_length; give one of them")
        nt = covered_nt(max_length - special, self.k, self.stride)
        if nt == 0:
            raise ValueError(
                f"max_length of {max_length} tokens leaves no room for a k-mer beside {special} special ones"
            )
        if isinstance(overlap, bool) or not isinstance(overlap, int | np.integer) or not 0 <= overlap < nt:
            raise ValueError(
                f"overlap must be a whole number of nt in 0..{nt - 1}, not {overlap!r}: a window of {max_length} "
                f"tokens covers {nt} nt"
            )
        return nt

    def num_tokens(self, length: int) -> int:
        """Count the tokens, [CLS] and [SEP] included, of a sequence of ``length`` nt."""
        return num_kmers(length, self.k, self.stride) + 2

    def uncovered_nt(self, length: int) -> int:
        """Count the nucleotides at the end of a sequence of ``length`` nt that no k-mer shows.

        >>> KmerTokenizer(k=6, stride=3).uncovered_nt(1000)
        1
        """
        return length - covered_nt(num_kmers(length, self.k, self.stride), self.k, self.stride)

    def token_to_nt(self, token: int | np.ndarray, add_special_tokens: bool = True) -> tuple[Any, Any]:
        """Give the nucleotides [start, end) under a token of a sequence, 0-based.

        Args:
            token: place of the token in its row, where [CLS] has place 0 (or the first k-mer, if the row was encoded
                without special tokens); a whole number, or a list or array of them.
            add_special_tokens: as the row was encoded.

        Raises:
            ValueError: for the place of [CLS], a negative one, or what is no whole number.

        >>> KmerTokenizer(k=6, stride=3).token_to_nt(2)
        (3, 9)
        """
        kmer = _whole(token, "token") - int(add_special_tokens)
        if np.any(kmer < 0):
            raise ValueError(f"token {token} is no k-mer: k-mers begin at place {int(add_special_tokens)} of a row")
        return kmer * self.stride, kmer * self.stride + self.k

    def nt_to_token(
        self, position: int | np.ndarray, length: int | None = None, add_special_tokens: bool = True
    ) -> tuple[Any, Any]:
        """Give the places [first, last) of the tokens that cover a nucleotide.

        Args:
            position: 0-based place in the sequence; a whole number, or a list or array of them.
            length: nt of the sequence, where its end is to be respected: in the tail first equals last.
            add_special_tokens: as the row was encoded; [CLS] then has place 0.

        Raises:
            ValueError: for a position outside the sequence, or what is no whole number.

        >>> KmerTokenizer(k=6, stride=3).nt_to_token(7)
        (2, 4)
        """
        position = _whole(position, "position")
        if np.any(position < 0) or (length is not None and np.any(position >= length)):
            known = "the sequence" if length is None else f"the sequence of {length} nt"
            raise ValueError(f"position {position} is outside {known} (0-based)")
        lead = int(add_special_tokens)
        last = position // self.stride + 1
        first = np.maximum(0, -(-(position - self.k + 1) // self.stride))
        if length is not None:
            last = np.minimum(last, num_kmers(length, self.k, self.stride))
        first = np.minimum(first, last)
        plain = int if np.ndim(position) == 0 else np.asarray
        return plain(first + lead), plain(last + lead)

    def reverse_complement_ids(self, ids: Any) -> Any:
        """Reverse-complement rows of ids by integer arithmetic: the ids of the opposite strand.

        [CLS], [SEP] and [PAD] stay in their places; between them k-mers, [UNK] and [MASK] are turned end for end.
        Exact when no tail is left uncovered, ``(length - k) % stride == 0``; otherwise the tail is lost.

        Args:
            ids: numpy array or torch tensor, (..., tokens).

        >>> tokenizer = KmerTokenizer(k=3)
        >>> tokenizer.reverse_complement_ids(np.array(tokenizer("ACGTT")["input_ids"])).tolist()
        [2, 7, 16, 50, 3]
        >>> tokenizer("AACGT")["input_ids"]
        [2, 7, 16, 50, 3]
        """
        array = np.asarray(ids)
        turned = np.take_along_axis(array, mirrored(array), -1)
        flipped = complement_codes(turned - NUM_SPECIAL_TOKENS, self.k) + NUM_SPECIAL_TOKENS
        result = np.where(self._is_kmer(turned), flipped, turned)
        return ids.new_tensor(result) if hasattr(ids, "new_tensor") else result


def _read_k(vocabulary: Path, expected: int | None) -> int:
    try:
        tokens = read_vocabulary(vocabulary)
        k = vocabulary_k(len(tokens)) if expected is None else expected
        check_vocabulary(tokens, k)
    except ValueError as error:
        raise ValueError(f"{vocabulary}: {error}") from error
    return k


_TO_BLANK = str.maketrans(dict.fromkeys("\t\n\r\v\f", " "))


def merge_kmers(tokens: list[str], k: int, stride: int) -> list[str]:
    """Merge k-mers in reading order into words of DNA; a k-mer that does not continue the one before begins a new word.

    Anything that is no k-mer stands for ``k`` unknown letters, which neighbouring k-mers fill in as far as they reach.

    >>> merge_kmers(["ACG", "[UNK]", "[UNK]", "[UNK]", "TTA", "GGG"], k=3, stride=1)
    ['ACGNTTA', 'GGG']
    """
    words: list[list[str]] = []
    for token in tokens:
        known = len(token) == k and not token.strip(ALPHABET)
        start = (len(words[-1]) - k + stride) if words else 0
        overlap = words[-1][start:] if words and start >= 0 else []
        continues = not known or all(letter in ("N", mine) for letter, mine in zip(overlap, token, strict=False))
        if not words or start < 0 or not continues:
            words.append(list(token) if known else ["N"] * k)
        else:
            word = words[-1]
            word += ["N"] * (start + k - len(word))
            if known:
                word[start:] = token
    return ["".join(word) for word in words]


def _all_sequences(batch: Sequence) -> bool:
    return set(map(type, batch)) <= {str, bytes} or all(map(is_sequence, batch))


def _join(batch: Sequence) -> np.ndarray:
    if set(map(type, batch)) == {str}:
        return as_letters("".join(batch))
    return np.concatenate([as_letters(text) for text in batch])


def _check_policy(errors: str) -> None:
    if errors not in ("unk", "raise"):
        raise ValueError(f'errors must be "unk" or "raise", not {errors!r}')


def _padded_width(longest: int, call: _Call) -> int:
    width = longest
    if call.padding_strategy == PaddingStrategy.MAX_LENGTH and call.max_length is not None:
        width = call.max_length
    return -(-width // call.pad_to_multiple_of) * call.pad_to_multiple_of if call.pad_to_multiple_of else width


def _ragged_encoding(
    columns: dict[str, np.ndarray], row_widths: np.ndarray, tensor_type: Any, *, left: bool, single: bool
) -> BatchEncoding:
    """Hand padded columns out as lists, each row as wide as it is to be.

    Args:
        columns: (rows, width), (rows, width, 2), or with one number a row (rows,).
        row_widths: tokens of each row, padding included, (rows,).
        tensor_type: what was asked for, so that BatchEncoding can say why ragged rows make no tensor.
        left: the padding stands left.
        single: one sequence, so without the axis of rows.
    """
    content: dict[str, Any] = {
        name: column.tolist() if column.ndim == 1 else _ragged(column, row_widths, left)
        for name, column in columns.items()
    }
    if single:
        content = {name: column[0] for name, column in content.items()}
    return BatchEncoding(content, tensor_type=tensor_type)


def _as_asked(columns: dict[str, np.ndarray], tensor_type: Any) -> BatchEncoding:
    """Hand columns of even rows out as lists, arrays or tensors."""
    if not tensor_type:
        return BatchEncoding({name: column.tolist() for name, column in columns.items()})
    if TensorType(tensor_type) == TensorType.PYTORCH:
        import torch

        return BatchEncoding({name: torch.from_numpy(column) for name, column in columns.items()})  # shares the memory
    return BatchEncoding(columns)


def _ragged(column: np.ndarray, row_widths: np.ndarray, left: bool) -> list:
    """Turn a padded column into lists, each row as wide as it is to be; ``left`` where the padding stands left."""
    rows = column.tolist()
    if column.ndim == 3:
        rows = [[tuple(pair) for pair in row] for row in rows]
    pairs = zip(rows, row_widths.tolist(), strict=True)
    return [row[len(row) - width :] if left else row[:width] for row, width in pairs]


def _check_arguments(arguments: dict[str, Any], kind: type) -> None:
    """Refuse what no tokenizer takes; a name that is one of the methods is transformers' to refuse."""
    known = {*_OWN_ARGUMENTS, *_FRAMEWORK_ARGUMENTS}
    for name in arguments.keys() - known:
        if not name.startswith("_") and not callable(getattr(kind, name, None)):
            raise TypeError(f"KmerTokenizer has no argument {name!r}{_hint(name, known)}")


def _checked_call(options: dict[str, Any]) -> _Call:
    """Refuse misspelt options; others that are none of ours are ignored, as transformers has it, but said."""
    for name in options.keys() - _CALL_OPTIONS - {"sanitize_control_tokens"}:
        hint = _hint(name, {*_CALL_OPTIONS, "padding", "truncation"})
        if hint:
            raise TypeError(f"a call of KmerTokenizer has no option {name!r}{hint}")
        logger.warning_once(f"a call of KmerTokenizer has no option {name!r}; it is ignored")
    return _Call(**{name: value for name, value in options.items() if name in _CALL_OPTIONS})


def _check_names(names: list[str], k: int) -> None:
    """Refuse names of special tokens that are empty, given twice, or a k-mer; those without a token are all None."""
    named = [name for name in names if name != "None"]
    for name in named:
        if not name or named.count(name) > 1 or (len(name) == k and not name.strip(ALPHABET)):
            raise ValueError(f"{name!r} names no special token: a name is not empty, given once, and no {k}-mer")


def _whole(value: Any, what: str) -> Any:
    """Take a whole number as it is, and several as an array."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    numbers = np.asarray(value)
    if numbers.size and numbers.dtype.kind not in "iu":
        raise ValueError(f"{what} must be a whole number, not {value!r}")
    return numbers.astype(np.int64)


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.lower(), list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _check_kmer(k: int, stride: int, allow_gaps: bool, allow_large_k: bool) -> None:
    try:
        check_kmer(k, stride, max_k=12 if allow_large_k else 8, allow_gaps=allow_gaps)
    except ValueError as error:
        hint = "; allow_large_k=True goes to 12" if "k must lie" in str(error) and not allow_large_k else ""
        raise ValueError(f"{error}{hint}") from None


def _asked_by_fill_mask() -> bool:
    """Tell whether transformers' fill-mask pipeline makes this call: the only data in which "[MASK]" is a mask.

    The pipeline hands its text to the tokenizer like any other caller; its frame is the one sign of it.
    """
    caller: FrameType | None = sys._getframe(1)
    while caller is not None and caller.f_globals.get("__name__") in _ON_THE_WAY:
        caller = caller.f_back
    return (
        caller is not None
        and caller.f_code.co_name == "preprocess"
        and any(kind.__name__ == "FillMaskPipeline" for kind in type(caller.f_locals.get("self")).__mro__)
    )


_NO_KMERS = (
    "No word of a batch has the {k} nt of a k-mer, so it has no token. Likely causes: k-mer text of a smaller k, "
    "or blanks between the letters."
)
_ON_THE_WAY = {__name__, "transformers.tokenization_utils_base"}


def _warn_if_mostly_unknown(rows: Rows) -> None:
    if rows.unknown and 2 * rows.unknown > rows.lengths.sum():
        logger.warning_once(
            "More than half of the k-mers of a batch are [UNK]: they touch letters other than A, C, G, T, U. "
            "Likely causes: protein or alignment instead of DNA, long runs of N, "
            "or text with separators other than blanks."
        )


KmerTokenizer.register_for_auto_class("AutoTokenizer")
