"""k-mer tokenizer with the Hugging Face API: ids computed directly from bytes, exact on every input.

The vocabulary is DNABERT's: five special tokens ([PAD] [UNK] [CLS] [SEP] [MASK] = 0..4), then the 4^k k-mers in the
order A, T, C, G, first letter slowest. It follows from ``k``, so no vocabulary file is needed and no dictionary is
built to encode.

Policies:
* Lower case is soft-masked DNA and gets the same ids (``return_soft_masked=True`` marks such tokens); U is read as T.
* A k-mer that contains N, an IUPAC code or any other character becomes [UNK] in its place: positions never shift.
* White space separates words, and each word is cut into k-mers by itself, so that DNABERT's space-separated k-mers work
  unchanged. A *blank* is one character of white space.
* A word shorter than ``k`` has no k-mer and gives no token; the last ``(length - k) % stride`` nt have no token of
  their own (``return_uncovered_nt=True`` counts both).
* A *named token* is a token that stands for itself where its name is written, such as "[MASK]": a special token, or one
  that was added with ``add_tokens``. A str is text, in which both kinds are recognised, as by every tokenizer of
  transformers; ``split_special_tokens=True`` turns that off for special tokens. Bytes and uint8 letters are data, in
  which only the added tokens are recognised. `windows` reads every sequence as data; `encode_batch` and
  `encode_joined`, which our collators call, recognise no named token at all.
* ``errors="raise"`` rejects characters that are not nucleotide codes; the default never raises on text.
* A batch that is mostly [UNK], or whose words are all shorter than ``k``, causes one warning with the likely cause.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import BatchEncoding
from transformers.tokenization_utils_base import TruncationStrategy
from transformers.utils import PaddingStrategy, logging

from .kmer_coordinates import nt_to_token, token_to_nt, window_nt
from .kmer_encoding import BLANK_DIGIT, EncodedRows, RowLayout, check_letters, encode_plain, token_digits
from .kmer_pieces import NamedTokens, encode_pieces, find_tokens, name_tokens, overflowing
from .sequence import (
    CLS_ID,
    PAD_ID,
    SEP_ID,
    as_letters,
    check_vocabulary,
    covered_nt,
    num_kmers,
    read_vocabulary,
    tile,
    vocabulary_k,
)
from .tokenizer_arguments import (
    BERT_ARGUMENTS,
    CALL_OPTIONS,
    NEED_TEXT,
    NO_LIMIT,
    OWN_OPTIONS,
    CallOptions,
    CallPieces,
    check_arguments,
    check_policy,
    check_size,
    check_special_names,
    check_window_options,
    is_sequence,
    limit_beside,
    named_tokens,
    read_options,
    read_pieces,
    read_rows,
)
from .tokenizer_outputs import even_encoding, pad_matrices, padded_width, ragged_encoding, warn_if_too_long
from .vocabulary_kmer import KmerVocabulary

logger = logging.get_logger(__name__)

_NO_KMERS = (
    "No word of a batch has the {k} nt of a k-mer, so the batch has no token. Likely causes: sequences that are too "
    "short, k-mer text of a smaller k, or blanks between the letters."
)
_CUT_BESIDE_MASK = (
    "Letters beside {mask} are in no token, because they do not fill a k-mer; before and after {mask} write {lengths} "
    "... nt."
)
_MOSTLY_UNKNOWN = (
    "More than half of the k-mers of a batch are [UNK]: they contain letters other than A, C, G, T, U. Likely causes: "
    "protein or alignment instead of DNA, long runs of N, or text with separators other than blanks."
)
_NAME_IN_DATA = (
    "Bytes or letters contain the name of a special token. Data cannot place special tokens, so its characters are "
    "[UNK]; pass the sequence as str to have the name recognised."
)
# Saved as "_format_version". Version 0.1 saved no such number, and saved its default split_special_tokens=true, which
# `convert_to_native_format` therefore drops from folders without the number.
_FORMAT_VERSION = 2


class KmerTokenizer(KmerVocabulary):
    """Cut DNA into k-mers, which overlap if the stride is smaller than k.

    Args:
        k: k-mer size in nt, 1..8 (1..12 with ``allow_large_k``).
        stride: nt from the start of one k-mer to the start of the next, 1..k.
        errors: "unk" turns k-mers with an impossible character into [UNK]; "raise" raises ValueError (N and IUPAC
            codes are [UNK] in both).
        allow_gaps: accept a stride larger than k, which leaves nucleotides that no token covers.
        allow_large_k: accept k of 9..12, vocabularies of 262,149 to 16,777,221 tokens.
        pad_token: name of the padding token, id 0.
        unk_token: name of the unknown token, id 1.
        cls_token: name of the classification token, id 2.
        sep_token: name of the separator token, id 3.
        mask_token: name of the mask token, id 4.
        kwargs: what every Hugging Face tokenizer takes (such as ``model_max_length`` and ``padding_side``).

    Raises:
        ValueError: if k or stride is out of range, or the names of the special tokens cannot be told apart.
        TypeError: if an argument is unknown.

    >>> tokenizer = KmerTokenizer(k=3)
    >>> tokenizer("ACGTN")["input_ids"]
    [2, 16, 50, 1, 3]
    >>> tokenizer.decode([2, 16, 50, 1, 3], skip_special_tokens=True)
    'ACGTN'

    Source: DNABERT (Ji et al. 2021), GenomeNet-BERT section 2 and Figure 1 (stride).
    """

    # What each public method calls to encode sequences. Transformers turns a call of the tokenizer into `_encode_plus`.
    #
    #     public method   sequences                            calls                     which calls (module)
    #     tokenizer()     1. plain: no blank or named token    _encode_if_plain          encode_plain (kmer_encoding)
    #     tokenizer()     2. token ids, marked chats           _encode_by_transformers   transformers' `_encode_plus`
    #     tokenizer()     3. anything else: blanks, pairs ...  _encode_pieces            find_tokens, encode_pieces
    #                                                                                    (kmer_pieces)
    #     encode_joined   uint8 letters, joined in one array   encode_plain (kmer_encoding)
    #     encode_batch    uint8 letters, one array per row     encode_joined
    #     windows         one long sequence                    tokenizer(), with its windows as uint8 letters
    #
    # A call of the tokenizer reads options and sequences with `tokenizer_arguments`, and pads rows with
    # `tokenizer_outputs`; `encode_joined` needs neither.

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
        check_size(k, stride, allow_gaps, allow_large_k)
        check_policy(errors)
        check_arguments(kwargs, type(self))
        self.k, self.stride, self.errors = int(k), int(stride), errors
        self.allow_gaps, self.allow_large_k = allow_gaps, allow_large_k
        self.special_names = [str(token) for token in (pad_token, unk_token, cls_token, sep_token, mask_token)]
        check_special_names(self.special_names, self.k)
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
            **{
                "split_special_tokens": False,
                **kwargs,
                "special_tokens_pattern": "cls_sep",
                "_format_version": _FORMAT_VERSION,
            },
        )

    @classmethod
    def from_pretrained(cls, *arguments: Any, **options: Any) -> Any:
        """Load a saved tokenizer or DNABERT's; see ``PreTrainedTokenizerBase.from_pretrained``.

        Where the package is imported, its code is used. (With ``trust_remote_code=True`` transformers does so for
        configuration and model, but takes the code in the folder for a tokenizer.)

        A tokenizer that was saved beside a model reads no more tokens than the model does, unless ``model_max_length``
        is passed.
        """
        installed = sys.modules.get("hf_genomics.tokenization_kmer")
        if installed is not None and cls.__module__.startswith("transformers_modules."):
            return installed.KmerTokenizer.from_pretrained(*arguments, **options)
        tokenizer = super().from_pretrained(*arguments, **options)
        # Set again: `convert_to_native_format` drops the value that version 0.1 saved, and cannot distinguish it from a
        # value that was passed to this call, which must win.
        tokenizer.split_special_tokens = options.get("split_special_tokens", tokenizer.split_special_tokens)
        if "model_max_length" not in options:
            name = arguments[0] if arguments else options["pretrained_model_name_or_path"]
            tokenizer.model_max_length = limit_beside(name, tokenizer.model_max_length, options)
        return tokenizer

    @classmethod
    def convert_to_native_format(cls, **kwargs: Any) -> dict[str, Any]:
        """Complete the arguments that from_pretrained has read: k follows from the vocabulary of a DNABERT folder.

        Raises:
            ValueError: if the vocabulary is not DNABERT's, or k is unknown (a guess could silently give wrong ids).
        """
        kwargs = super().convert_to_native_format(**kwargs)
        if kwargs.get("_format_version", 1) < _FORMAT_VERSION:
            kwargs.pop("split_special_tokens", None)
        if named := named_tokens(kwargs):  # such as {"species": "[HUMAN]"}, which the constructor takes in one argument
            kwargs = {name: value for name, value in kwargs.items() if name not in named}
            kwargs["model_specific_special_tokens"] = named | (kwargs.get("model_specific_special_tokens") or {})
        vocabulary = kwargs.pop("vocab_file", None) or kwargs.pop("tokenizer_file", None)
        if vocabulary is not None:
            kwargs = {name: value for name, value in kwargs.items() if name not in BERT_ARGUMENTS}
            kwargs["k"] = _read_k(Path(vocabulary), kwargs.get("k"))
        elif "k" not in kwargs:
            raise ValueError(
                f"{kwargs.get('name_or_path')}: tokenizer_config.json is missing or has no k; save the tokenizer "
                "there, or pass k= and stride="
            )
        return kwargs

    # A call: three routes.

    def _encode_plus(self, text: Any, text_pair: Any = None, **options: Any) -> BatchEncoding:
        """Encode a sequence, a pair, or a batch; see ``PreTrainedTokenizerBase.__call__`` for the usual arguments.

        Sequences are str, bytes or uint8 letters.

        Args:
            text: as usual.
            text_pair: as usual.
            options: the usual ones; in addition to these, ``errors`` overrides the tokenizer's own policy;
                ``return_offsets_mapping`` adds "offset_mapping", the nucleotides [start, end) of each token in its text
                (in its word, for pre-tokenised input), 0-based; ``return_soft_masked`` adds "soft_masked", 1 for tokens
                that cover a lower-case letter; ``return_uncovered_nt`` adds "uncovered_nt", the nucleotides of each row
                that no k-mer covers: the last ``(length - k) % stride`` of each word, and words shorter than k.

        Raises:
            ValueError: if a value is not a sequence, or with ``errors="raise"`` contains a character that is not a
                nucleotide code.
            TypeError: if an option is misspelt.
        """
        # This method makes the tokenizer fast: transformers passes a whole batch to it, and its own version would turn
        # the batch into Python strings, token by token.
        call = CallOptions(**options) if options.keys() <= CALL_OPTIONS else read_options(options)
        check_policy(call.errors or self.errors)
        layout = self._row_layout(call)
        # 1. The fast route, for plain DNA. It does not know pairs, pre-tokenised words and overflowing tokens.
        if text_pair is None and not call.is_split_into_words and not call.return_overflowing_tokens:
            single = is_sequence(text)
            rows = self._encode_if_plain([text] if single else text, call, layout)
            if rows is not None:
                return self._to_encoding(rows, call, layout.pad_id, single=single)
        pairs, single = read_rows(text, text_pair, call.is_split_into_words)
        pieces = read_pieces(pairs, call.is_split_into_words) if pairs else None
        # 2. Transformers' own code, one string per token: for token ids, for an empty batch, and for text in which
        # `apply_chat_template` has marked the names to read letter by letter (sanitize_control_tokens).
        if pieces is None or options.get("sanitize_control_tokens"):
            return self._encode_by_transformers(text, text_pair, options)
        # 3. The general route, for all other sequences.
        rows, extras = self._encode_pieces(pieces, call, layout, single=single)
        return self._to_encoding(rows, call, layout.pad_id, single=single, extras=extras)

    def _encode_by_transformers(self, text: Any, text_pair: Any, options: dict[str, Any]) -> BatchEncoding:
        """Encode by transformers' version of `_encode_plus`, which does not know our own options.

        Raises:
            ValueError: if an option needs the letters of a text.
        """
        for name in NEED_TEXT:
            if options.get(name):
                raise ValueError(f"{name} needs text, not token ids")
        usual = {name: value for name, value in options.items() if name not in OWN_OPTIONS}
        return super()._encode_plus(text, text_pair, **usual)

    def _row_layout(self, call: CallOptions) -> RowLayout:
        """Return how a call cuts sequences into k-mers and lays them out in rows."""
        options = (
            ("token_type_ids", call.return_token_type_ids),
            ("attention_mask", call.return_attention_mask),
            ("special_tokens_mask", call.return_special_tokens_mask),
            ("offset_mapping", call.return_offsets_mapping),
            ("soft_masked", call.return_soft_masked),
            ("uncovered_nt", call.return_uncovered_nt),
        )
        inputs = self.model_input_names
        special = self.special_tokens_map  # looked up once: quicker than cls_token_id, sep_token_id and pad_token_id
        # A special token that was set to None is not in the map; [PAD] takes its place in a row.
        cls_id, sep_id, pad_id = (
            self.convert_tokens_to_ids(special[name]) if name in special else PAD_ID
            for name in ("cls_token", "sep_token", "pad_token")
        )
        return RowLayout(
            k=self.k,
            stride=self.stride,
            special_ids=(cls_id, sep_id) if call.add_special_tokens else None,
            pad_id=pad_id,
            max_length=call.max_length,
            truncation=call.truncation_strategy,
            truncate_left=self.truncation_side == "left",
            # An option that is None is not set: the model's inputs then decide.
            wanted=frozenset(name for name, option in options if (name in inputs if option is None else option)),
        )

    def _encode_if_plain(self, batch: Any, call: CallOptions, layout: RowLayout) -> EncodedRows | None:
        """Encode a batch by the fast route; return None if it needs another route.

        Args:
            batch: what was passed to the call; a plain batch is a list of sequences without blanks and named tokens.
            call: options of the call.
            layout: how the rows are laid out.
        """
        if not isinstance(batch, list | tuple) or not batch or not _all_sequences(batch):
            return None
        letters = _joined(batch)
        # Digits 0..3 are A, T, C and G; other characters have larger ones, and a blank the largest.
        digits, highest = token_digits(letters)
        if highest == BLANK_DIGIT:
            return None
        # A batch of nothing but A, C, G, T and U contains no name, unless a name consists of these letters itself.
        named = self._named_tokens(call) if highest > 3 or self.names_spell_dna else None
        # The joined letters are searched first, because that is quick; a name found there may cross the end of a row.
        if named and named.may_occur(letters):
            if any(any(named.find(sequence)) for sequence in batch):  # recognised: in str, or an added token in data
                return None
            data = (as_letters(sequence) for sequence in batch if not isinstance(sequence, str))
            if any(map(named.may_occur, data)):
                logger.warning_once(_NAME_IN_DATA)
        lengths = np.fromiter(map(len, batch), np.int64, len(batch))
        if highest > 3 and (call.errors or self.errors) == "raise":
            check_letters(letters, digits, lengths, batch)
        if 0 < lengths.max() < self.k:
            logger.warning_once(_NO_KMERS.format(k=self.k))
        return encode_plain(letters, digits, highest, lengths, layout)

    def _encode_pieces(
        self, pieces: CallPieces, call: CallOptions, layout: RowLayout, *, single: bool
    ) -> tuple[EncodedRows, dict[str, Any]]:
        """Encode pieces by the general route.

        Args:
            pieces: the sequences or pre-tokenised words, and which row each belongs to.
            call: options of the call.
            layout: how the rows are laid out.
            single: whether the call was for a single row; lists of overflowing tokens then have no axis of rows.

        Returns:
            The rows; and the overflowing tokens by transformers' names, or {} if there are none or they are not wanted.

        Raises:
            ValueError: with ``errors="raise"``, if a character is not a nucleotide code; or if overflowing tokens of
                pairs are wanted with the truncation "longest_first".
        """
        # Descriptions are for messages: without them, `find_tokens` accepts every character.
        descriptions = pieces.descriptions if (call.errors or self.errors) == "raise" else None
        tokens = find_tokens(pieces.pieces, self.k, self.stride, self._named_tokens(call), descriptions)
        rows, counts = encode_pieces(tokens, np.array(pieces.owner), layout, pair=pieces.pair)
        if not len(tokens.ids) and tokens.uncovered_nt.any():
            logger.warning_once(_NO_KMERS.format(k=self.k))
        elif tokens.uncovered_nt[tokens.piece[tokens.ids == self.mask_token_id]].any():
            lengths = ", ".join(str(self.k + more * self.stride) for more in range(3))
            logger.warning_once(_CUT_BESIDE_MASK.format(mask=self.mask_token, lengths=lengths))
        if not call.return_overflowing_tokens:
            return rows, {}
        if pieces.pair and layout.truncation == TruncationStrategy.LONGEST_FIRST:
            raise ValueError(
                "Not possible to return overflowing tokens for pair of sequences with the `longest_first`. "
                "Please select another truncation strategy than `longest_first`, for instance `only_second` or "
                "`only_first`."
            )
        removed, excess = overflowing(tokens.ids, counts, layout, call.stride, pair=pieces.pair)
        if not any(removed) or call.return_tensors:  # with tensors transformers omits them, too
            return rows, {}
        return rows, {
            "overflowing_tokens": removed[0] if single else removed,
            "num_truncated_tokens": excess[0] if single else excess,
        }

    def _named_tokens(self, call: CallOptions) -> NamedTokens | None:
        """Return what finds the named tokens that a call recognises; None if it recognises none."""
        split = self.split_special_tokens if call.split_special_tokens is None else call.split_special_tokens
        return name_tokens(self.added_names, bool(split))

    def _to_encoding(
        self, rows: EncodedRows, call: CallOptions, pad_id: int, *, single: bool, extras: dict[str, Any] | None = None
    ) -> BatchEncoding:
        """Pad the rows as requested, and turn them into lists or tensors.

        As in transformers, "length" includes padding for a single sequence, and does not for the rows of a batch.

        Args:
            rows: the rows, padded on the right to the longest one.
            call: options of the call.
            pad_id: id of [PAD].
            single: whether the call was for a single row, so that lists have no axis of rows.
            extras: further entries of the result, which are not padded.
        """
        longest = rows.matrices["input_ids"].shape[1]
        warn_if_too_long(longest, self.model_max_length, call, self.deprecation_warnings)
        padded = call.padding_strategy != PaddingStrategy.DO_NOT_PAD
        left = padded and (call.padding_side or self.padding_side) == "left"
        width = padded_width(longest, call) if padded else 0
        matrices = pad_matrices(rows.matrices, rows.lengths, width, pad_id, left=left)
        row_widths = np.maximum(rows.lengths, width)
        per_row = {"length": row_widths if single else rows.lengths} if call.return_length else {}
        if call.return_uncovered_nt and rows.uncovered_nt is not None:
            per_row["uncovered_nt"] = rows.uncovered_nt
        # Tensors need rows of one width; lists are cut to the width of each row.
        if call.return_tensors and (width >= longest or (row_widths == longest).all()):
            encoding = even_encoding(matrices | per_row, call.return_tensors)
        else:
            encoding = ragged_encoding(matrices | per_row, row_widths, call.return_tensors, left=left, single=single)
        if extras:
            encoding.data.update(extras)
        _warn_if_mostly_unknown(rows)
        return encoding

    # Data: letters in which no special token is recognised.

    def encode_batch(self, letters: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Encode rows of letters with [CLS] and [SEP].

        Args:
            letters: uint8 letters, one array per row.

        Returns:
            ids, int64 (rows, longest), padded on the right with [PAD]; number of tokens in each row, int64 (rows,).

        Raises:
            ValueError: if a character is not a nucleotide code, naming row and position.
        """
        rows = list(letters)
        joined = np.concatenate(rows) if rows else np.empty(0, np.uint8)
        return self.encode_joined(joined, np.fromiter(map(len, rows), np.int64, len(rows)))

    def encode_joined(self, letters: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encode rows of letters that are joined in one array, as the collators do.

        Args:
            letters: uint8, (nt of all rows,).
            lengths: length of each row in nt, int64 (rows,).

        Returns:
            ids, int64 (rows, longest), padded on the right with [PAD]; number of tokens in each row, int64 (rows,).

        Raises:
            ValueError: if a character is not a nucleotide code, naming row and position.
        """
        if not len(lengths):
            return np.empty((0, 0), np.int64), np.empty(0, np.int64)
        digits, highest = token_digits(letters)
        if highest > 3:  # a character other than A, C, G, T and U
            check_letters(letters, digits, lengths)
        layout = RowLayout(
            k=self.k,
            stride=self.stride,
            special_ids=(CLS_ID, SEP_ID),
            pad_id=PAD_ID,
            max_length=None,
            truncation=TruncationStrategy.DO_NOT_TRUNCATE,
            truncate_left=False,
            wanted=frozenset(),
        )
        rows = encode_plain(letters, digits, highest, lengths, layout)
        _warn_if_mostly_unknown(rows)
        return rows.matrices["input_ids"], rows.lengths

    def windows(
        self, sequence: str | bytes | np.ndarray, max_length: int | None = None, overlap: int = 0, **options: Any
    ) -> BatchEncoding:
        """Cut a long sequence into windows that fit a model, and encode them.

        All windows have the same length; the last one is moved back to end where the sequence ends, so the windows
        cover every nucleotide of a sequence of at least one window. A shorter sequence is one window.

        Args:
            sequence: str, bytes or uint8 letters; special tokens are not recognised in it.
            max_length: number of tokens in a window, special tokens included; by default ``model_max_length``.
            overlap: nt that neighbouring windows share at least; less than a window.
            options: as in a call of the tokenizer, such as ``return_tensors``; offsets count from the start of the
                sequence.

        Returns:
            The encoded windows, with "window_start" and "window_end" in nt, 0-based, half-open.

        Raises:
            ValueError: if the length of a window is unknown, or leaves no room for a k-mer or for the overlap.
            TypeError: if ``sequence`` is not one sequence, or an option is unknown.

        >>> tokenizer = KmerTokenizer(k=3)
        >>> windows = tokenizer.windows("ACGTTGCA", max_length=4, overlap=1)
        >>> windows["window_start"], windows["window_end"], windows["input_ids"][0]
        ([0, 3, 4], [4, 7, 8], [2, 16, 50, 3])
        """
        check_window_options(options, sequence)
        letters = as_letters(sequence)
        if (options.get("errors") or self.errors) == "raise":
            self._check_whole(sequence)
        max_length = self.model_max_length if max_length is None else max_length
        if isinstance(max_length, int) and max_length > NO_LIMIT:
            raise ValueError("max_length is not given, and the tokenizer has no model_max_length; give one of them")
        special = 2 if options.get("add_special_tokens", True) else 0
        nt = window_nt(max_length, self.k, self.stride, special, overlap)
        starts, ends = tile(len(letters), nt, nt - overlap, end="flush")
        rows = [letters[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        tensors = options.pop("return_tensors", None)
        matrices = self(rows, return_tensors="np", **{"padding": True, **options}).data
        if "offset_mapping" in matrices:  # special tokens and padding keep (0, 0)
            shift = starts[:, None, None] * (matrices["offset_mapping"][..., 1:] > 0)
            matrices["offset_mapping"] = matrices["offset_mapping"] + shift
        return even_encoding(matrices | {"window_start": starts, "window_end": ends}, tensors)

    def _check_whole(self, sequence: str | bytes | np.ndarray) -> None:
        """Check a long sequence before it is cut, so that positions in messages count from its start.

        Raises:
            ValueError: if a character is not a nucleotide code.
        """
        # Encoding it raises the error; the encoding itself is not needed, and truncation keeps it small.
        self(sequence, errors="raise", split_special_tokens=True, truncation=True, max_length=2, verbose=False)

    # k-mer arithmetic on ids and positions.

    def num_tokens(self, length: int) -> int:
        """Count the tokens, [CLS] and [SEP] included, of a sequence of ``length`` nt."""
        return num_kmers(length, self.k, self.stride) + 2

    def uncovered_nt(self, length: int) -> int:
        """Count the nucleotides at the end of a sequence of ``length`` nt that no k-mer covers.

        >>> KmerTokenizer(k=6, stride=3).uncovered_nt(1000)
        1
        """
        return length - covered_nt(num_kmers(length, self.k, self.stride), self.k, self.stride)

    def token_to_nt(self, token: int | np.ndarray, add_special_tokens: bool = True) -> tuple[Any, Any]:
        """Compute the nucleotides [start, end) that a token of a sequence covers, 0-based.

        Args:
            token: index of the token in its row, where [CLS] has index 0 (or the first k-mer, if the row was encoded
                without special tokens); a whole number, or a list or array of them.
            add_special_tokens: as the row was encoded.

        Raises:
            ValueError: if the token is [CLS], or the index is negative or not a whole number.

        >>> KmerTokenizer(k=6, stride=3).token_to_nt(2)
        (3, 9)
        """
        return token_to_nt(token, self.k, self.stride, int(add_special_tokens))

    def nt_to_token(
        self, position: int | np.ndarray, length: int | None = None, add_special_tokens: bool = True
    ) -> tuple[Any, Any]:
        """Compute the indices [first, end) of the tokens that cover a nucleotide.

        Args:
            position: 0-based position in the sequence; a whole number, or a list or array of them.
            length: length of the sequence in nt; None if its end does not matter. In the uncovered tail, first equals
                end.
            add_special_tokens: as the row was encoded; [CLS] then has index 0.

        Raises:
            ValueError: if the position lies outside the sequence, or is not a whole number.

        >>> KmerTokenizer(k=6, stride=3).nt_to_token(7)
        (2, 4)
        """
        return nt_to_token(position, self.k, self.stride, int(add_special_tokens), length)


def _read_k(vocabulary: Path, expected: int | None) -> int:
    """Read k from a vocabulary file, and check that the vocabulary is DNABERT's."""
    try:
        tokens = read_vocabulary(vocabulary)
        k = vocabulary_k(len(tokens)) if expected is None else expected
        check_vocabulary(tokens, k)
    except ValueError as error:
        raise ValueError(f"{vocabulary}: {error}") from error
    return k


def _all_sequences(batch: Sequence) -> bool:
    """Check whether a batch consists of str, bytes and uint8 letters only."""
    return set(map(type, batch)) <= {str, bytes} or all(map(is_sequence, batch))  # the types first: that is quicker


def _joined(batch: Sequence) -> np.ndarray:
    """Join the letters of sequences, without anything between them, uint8 (nt,)."""
    if set(map(type, batch)) == {str}:
        return as_letters("".join(batch))
    return np.concatenate([as_letters(sequence) for sequence in batch])


def _warn_if_mostly_unknown(rows: EncodedRows) -> None:
    """Warn once if more than half of the tokens of all rows are [UNK]."""
    if rows.num_unknown and 2 * rows.num_unknown > rows.lengths.sum():
        logger.warning_once(_MOSTLY_UNKNOWN)


KmerTokenizer.register_for_auto_class("AutoTokenizer")
