"""k-mer tokenizer: ids straight from bytes, exact on every input, behind the Hugging Face tokenizer API.

Five special tokens ([PAD] [UNK] [CLS] [SEP] [MASK] = 0..4) stand before the 4^k k-mers in the order A, T, C, G,
first letter slowest: DNABERT's vocabulary. It follows from ``k``, so no vocabulary file is needed and no
dictionary is built to encode.

Policies:
* Lower case is soft-masked DNA and gets the same ids; U is read as T.
* A k-mer that touches N, an IUPAC code or any other character is [UNK] at its place: positions never shift.
* Blanks are word boundaries and each word is cut into k-mers by itself, so DNABERT's space-separated k-mers
  work as they are.
* A word shorter than ``k`` has no k-mer and gives no token; the last ``(length - k) % stride`` nt have no token
  of their own.
* Text such as "[MASK]" inside a sequence is data like any other; pass ``split_special_tokens=False`` to have it
  understood. Ordinary tokens that were added with ``add_tokens`` are always understood.
* ``errors="raise"`` refuses characters that are no nucleotide code; the default never raises on text.
"""

import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import BatchEncoding, PreTrainedTokenizer
from transformers.tokenization_utils_base import PaddingStrategy, TensorType, TruncationStrategy
from transformers.utils import logging

from .sequence import (
    ALPHABET,
    IUPAC,
    as_letters,
    check_kmer,
    check_vocabulary,
    complement_codes,
    letter_digits,
    num_kmers,
    rolling_any,
    rolling_codes,
    vocabulary_k,
)

logger = logging.get_logger(__name__)

NUM_SPECIAL_TOKENS = 5
PAD, UNK, CLS, SEP, MASK = range(NUM_SPECIAL_TOKENS)

_BLANK = np.zeros(256, bool)
_BLANK[np.frombuffer(b" \t\n\r\v\f", np.uint8)] = True
_NUCLEOTIDE = np.zeros(256, bool)
_NUCLEOTIDE[np.frombuffer((IUPAC + "U" + IUPAC.lower() + "u").encode(), np.uint8)] = True

# Everything a saved tokenizer_config.json or from_pretrained may bring besides our own arguments. Transformers keeps
# unknown names without a word, so a misspelt `strid=3` would leave the stride at 1.
_FRAMEWORK_ARGUMENTS = frozenset(
    "added_tokens_decoder additional_special_tokens auto_map backend bos_token chat_control_tokens chat_template "
    "clean_up_tokenization_spaces clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output eos_token "
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
_OWN_ARGUMENTS = "k stride errors allow_gaps pad_token unk_token cls_token sep_token mask_token".split()


class KmerTokenizer(PreTrainedTokenizer):
    """Cut DNA into overlapping k-mers.

    Args:
        k: k-mer size in nt, 1..8.
        stride: nt from the start of one k-mer to the next, 1..k.
        errors: "unk" turns k-mers with an impossible character into [UNK]; "raise" raises ValueError (N and IUPAC
            codes stay [UNK] in both).
        allow_gaps: accept a stride larger than k, which leaves nucleotides that no token shows.
        kwargs: what every Hugging Face tokenizer takes (such as ``model_max_length``, ``padding_side``); other names
            are refused.

    Raises:
        ValueError: if k or stride is out of range.
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
        pad_token: str = "[PAD]",
        unk_token: str = "[UNK]",
        cls_token: str = "[CLS]",
        sep_token: str = "[SEP]",
        mask_token: str = "[MASK]",
        **kwargs: Any,
    ) -> None:
        check_kmer(k, stride, allow_gaps=allow_gaps)
        _check_policy(errors)
        _refuse_unknown(kwargs)
        self.k, self.stride, self.errors, self.allow_gaps = int(k), int(stride), errors, allow_gaps
        self._special_names = [str(token) for token in (pad_token, unk_token, cls_token, sep_token, mask_token)]
        kwargs.setdefault("split_special_tokens", True)
        kwargs["special_tokens_pattern"] = "cls_sep"
        super().__init__(
            k=self.k,
            stride=self.stride,
            errors=errors,
            allow_gaps=allow_gaps,
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
        """Complete what from_pretrained has read: the vocab.txt of a DNABERT folder says what k is.

        Raises:
            ValueError: if the vocabulary is not DNABERT's, or nothing tells k (a guess could give wrong ids silently).
        """
        kwargs = super().convert_to_native_format(**kwargs)
        vocabulary = kwargs.pop("vocab_file", None)
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
        names = [str(token) for token in new_tokens or []]
        if not set(names) <= set(self._special_names):
            return super()._add_tokens(new_tokens, special_tokens=special_tokens)
        for token, name in zip(new_tokens, names, strict=True):
            self._register_special(token, self._special_names.index(name))
        self._update_trie()
        self._update_total_vocab_size()
        return 0

    def _register_special(self, token: Any, index: int) -> None:
        if index not in self._added_tokens_decoder:
            added = type(self)._added_token(token)
            self._added_tokens_decoder[index] = added
            self._added_tokens_encoder[added.content] = index

    @staticmethod
    def _added_token(token: Any) -> Any:
        from tokenizers import AddedToken

        return token if isinstance(token, AddedToken) else AddedToken(str(token), normalized=False, special=True)

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
        ids = np.atleast_1d(np.asarray(token_ids))
        if skip_special_tokens:
            # [UNK] is a place in the sequence, not a mark around it: leaving it out would shift all that follows.
            ids = ids[~np.isin(ids, [index for index in self.all_special_ids if index != self.unk_token_id])]
        return self.convert_tokens_to_string(self.convert_ids_to_tokens(ids.tolist()))

    # The fast route.

    def _encode_plus(
        self, text: Any, text_pair: Any = None, *, errors: str | None = None, **options: Any
    ) -> BatchEncoding:
        """Encode one sequence or a batch; see ``PreTrainedTokenizerBase.__call__`` for the arguments.

        Sequences are str, bytes or uint8 letters. ``errors`` overrides the tokenizer's own policy for this call.
        """
        errors = errors or self.errors
        _check_policy(errors)
        batch = [text] if _is_sequence(text) else text
        split_into_words = options.get("is_split_into_words", False)
        if errors == "raise":
            self._refuse_letters([batch] if split_into_words and not _is_nested(batch) else batch, options)
            self._refuse_letters([text_pair] if _is_sequence(text_pair) else text_pair or [], options)
        plain = text_pair is None and not split_into_words and not options.get("return_overflowing_tokens", False)
        rows = self._plain_rows(batch, options) if plain else None
        if rows is not None:
            return self._encode_plain(*rows, single=_is_sequence(text), **options)
        if options.pop("return_offsets_mapping", False):
            raise NotImplementedError("offsets are given for single sequences without blanks or added tokens only")
        return super()._encode_plus(_as_text(text), text_pair=_as_text(text_pair), errors=errors, **options)

    def _encode_plain(
        self,
        digits: np.ndarray,
        row_lengths: np.ndarray,
        *,
        single: bool,
        add_special_tokens: bool = True,
        padding_strategy: PaddingStrategy = PaddingStrategy.DO_NOT_PAD,
        truncation_strategy: TruncationStrategy = TruncationStrategy.DO_NOT_TRUNCATE,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: Any = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        **others: Any,
    ) -> BatchEncoding:
        """Encode joined rows of digits; ``single`` where they are one sequence, not a batch of one.

        The other arguments are those of ``PreTrainedTokenizerBase.__call__``; ``others`` do not concern plain rows.
        """
        truncate_to = None if truncation_strategy == TruncationStrategy.DO_NOT_TRUNCATE else max_length
        ids, lengths, first = self._id_matrix(
            digits, row_lengths, add_special_tokens=add_special_tokens, max_length=truncate_to
        )
        longest = int(lengths.max(initial=0))
        self._eventual_warn_about_too_long_sequence(range(longest), max_length, verbose)
        padded = padding_strategy != PaddingStrategy.DO_NOT_PAD
        left = padded and (padding_side or self.padding_side) == "left"
        width = _padded_width(longest, padding_strategy, max_length, pad_to_multiple_of) if padded else 0
        wanted = {
            "token_type_ids": _wanted(return_token_type_ids, "token_type_ids", self),
            "attention_mask": _wanted(return_attention_mask, "attention_mask", self),
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
        }
        columns = self._columns(ids, lengths, first, max(width, longest), left, wanted, add_special_tokens)
        row_widths = np.maximum(lengths, width)
        # As transformers has it: "length" is with padding for a single sequence, without for the rows of a batch.
        counts = (row_widths if single else lengths) if return_length else None
        return _encoding(columns, row_widths, counts, left=left, single=single, tensor_type=return_tensors)

    def _plain_rows(self, batch: Any, kwargs: dict) -> tuple[np.ndarray, np.ndarray] | None:
        """Join a batch into one array of digits and its row lengths in nt; None if it needs the readable route."""
        if not isinstance(batch, list | tuple) or not batch or not _all_sequences(batch):
            return None
        lengths = np.fromiter(map(len, batch), np.int64, len(batch))
        letters = _join(batch)
        digits = letter_digits(letters)
        if len(digits) and digits.max() > 3 and _BLANK[letters].any():
            return None
        names = self._understood_tokens(kwargs)
        if names and any(token in text for text in map(_as_text, batch) for token in names):
            return None
        return digits, lengths

    def _understood_tokens(self, kwargs: dict) -> list[str]:
        """List the tokens that stand for themselves where they occur in a text."""
        if kwargs.get("split_special_tokens", self.split_special_tokens):
            return self._ordinary_added_tokens()
        return list(self._added_tokens_encoder)

    def _refuse_letters(self, batch: Any, kwargs: dict) -> None:
        """Raise ValueError for the first character that is no nucleotide code, blank or part of an understood token."""
        names = self._understood_tokens(kwargs)
        for row, text in enumerate(_as_text(batch)):
            words = " ".join(text) if _is_nested([text]) and all(isinstance(word, str) for word in text) else text
            if isinstance(words, str):
                for name in names:
                    words = words.replace(name, " " * len(name))
                letters = as_letters(words)
                wrong = ~(_NUCLEOTIDE | _BLANK)[letters]
                if wrong.any():
                    raise _letter_error(row, int(wrong.argmax()), words[int(wrong.argmax())])

    def _id_matrix(
        self, digits: np.ndarray, row_lengths: np.ndarray, *, add_special_tokens: bool, max_length: int | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Turn joined digits into a right-padded id matrix.

        Returns:
            ids, int64 (rows, longest); token counts with special tokens and numbers of the first k-mers kept, (rows,).
        """
        special = 2 if add_special_tokens else 0
        counts = np.maximum(0, (row_lengths - self.k) // self.stride + 1)
        kept = counts if max_length is None else np.minimum(counts, max(0, max_length - special))
        first = counts - kept if self.truncation_side == "left" else np.zeros_like(counts)
        width = int(kept.max(initial=0)) + special
        ids = np.zeros((len(counts), width), np.int64)
        lead = special // 2
        self._fill(ids[:, lead : width - lead] if special else ids, digits, row_lengths, kept, first)
        if special:
            ids[:, 0] = CLS
            ids[np.arange(len(counts)), kept + 1] = SEP
        return ids, kept + special, first

    def _fill(
        self, ids: np.ndarray, digits: np.ndarray, row_lengths: np.ndarray, kept: np.ndarray, first: np.ndarray
    ) -> None:
        """Write the k-mer ids of all rows into ``ids``; every row at once where all are equally long."""
        length = int(row_lengths[0])
        known, unknown = self._flat_kmers(digits)
        if (row_lengths == length).all() and length >= self.k and not first.any():
            count = ids.shape[1]
            rows = (len(row_lengths), length)
            ids[...] = known.reshape(rows)[:, :: self.stride][:, :count]
            ids += NUM_SPECIAL_TOKENS
            if unknown is not None:
                ids[unknown.reshape(rows)[:, :: self.stride][:, :count]] = UNK
                _warn_if_mostly_unknown(ids == UNK)
            return
        ends = np.cumsum(row_lengths)
        starts = (ends - row_lengths + first * self.stride).tolist()
        flat = known.astype(np.int64)
        flat += NUM_SPECIAL_TOKENS
        if unknown is not None:
            flat[unknown] = UNK
        for row, (start, count) in enumerate(zip(starts, kept.tolist(), strict=True)):
            ids[row, :count] = flat[start : start + count * self.stride : self.stride]
        if unknown is not None:
            in_rows = np.arange(ids.shape[1]) < kept[:, None]
            _warn_if_mostly_unknown((ids == UNK)[in_rows])

    def _flat_kmers(self, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Number the k-mers that start at every digit of joined rows (those over a row's end mean nothing).

        Returns:
            codes, and which of them touch an unknown letter (None if there is no such letter), (digits,) each.
        """
        padded = np.concatenate([digits, np.zeros(self.k - 1, np.uint8)])
        if not len(digits) or digits.max() <= 3:
            return rolling_codes(padded, self.k), None
        return rolling_codes(padded & 3, self.k), rolling_any(padded > 3, self.k)

    def _columns(
        self,
        ids: np.ndarray,
        lengths: np.ndarray,
        first: np.ndarray,
        width: int,
        left: bool,
        wanted: dict[str, bool],
        add_special_tokens: bool,
    ) -> dict[str, np.ndarray]:
        """Build the columns of the encoding, each (rows, width) or (rows, width, 2), padded on one side."""
        place = np.arange(width)[None, :]
        if left:
            place = place - (width - lengths)[:, None]
            ids = _moved_right(ids, place, (place >= 0) & (place < lengths[:, None]))
        elif width > ids.shape[1]:
            ids = np.pad(ids, ((0, 0), (0, width - ids.shape[1])), constant_values=PAD)
        columns = {"input_ids": ids}
        if wanted["token_type_ids"]:
            columns["token_type_ids"] = np.zeros(ids.shape, np.int64)
        if wanted["attention_mask"]:
            full = (lengths == width).all()
            mask = np.ones(ids.shape, np.int64) if full else (place >= 0) & (place < lengths[:, None])
            columns["attention_mask"] = mask.astype(np.int64, copy=False)
        if not (wanted["special_tokens_mask"] or wanted["offset_mapping"]):
            return columns
        lead = 1 if add_special_tokens else 0
        inside = (place >= lead) & (place < lengths[:, None] - lead)
        if wanted["special_tokens_mask"]:
            columns["special_tokens_mask"] = 1 - inside.astype(np.int64)
        if wanted["offset_mapping"]:
            start = (np.maximum(place - lead, 0) + first[:, None]) * self.stride
            columns["offset_mapping"] = np.where(inside[..., None], np.stack([start, start + self.k], -1), 0)
        return columns

    # k-mer arithmetic on ids and positions.

    def encode_batch(self, letters: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Encode rows of letters with [CLS] and [SEP]: what the collators call.

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
        """Encode rows that lie end to end in one array, as a genome store gives them; else as `encode_batch`.

        Args:
            letters: (sum of lengths,) uint8.
            lengths: (rows,) int64, nt of each row.
        """
        digits = letter_digits(letters)
        if len(digits) and digits.max() > 3:
            _check_letters(letters, lengths)
        ids, counts, _ = self._id_matrix(digits, lengths, add_special_tokens=True, max_length=None)
        return ids, counts

    def num_tokens(self, length: int) -> int:
        """Count the tokens, [CLS] and [SEP] included, of a sequence of ``length`` nt."""
        return num_kmers(length, self.k, self.stride) + 2

    def reverse_complement_ids(self, ids: Any) -> Any:
        """Reverse-complement k-mer ids (numpy array or torch tensor of k-mers of one window, no special tokens inside).

        Exact when no tail is left uncovered, ``(length - k) % stride == 0``; special ids move to their mirrored place.

        >>> tokenizer = KmerTokenizer(k=3)
        >>> ids = np.array(tokenizer("ACGTT", add_special_tokens=False)["input_ids"])
        >>> tokenizer.decode(tokenizer.reverse_complement_ids(ids))
        'AACGT'
        """
        mirrored = ids.flip(-1) if hasattr(ids, "flip") else ids[..., ::-1]
        array = np.asarray(mirrored)
        flipped = complement_codes(array - NUM_SPECIAL_TOKENS, self.k) + NUM_SPECIAL_TOKENS
        result = np.where(array < NUM_SPECIAL_TOKENS, array, flipped)
        return ids.new_tensor(result) if hasattr(ids, "new_tensor") else result


def _read_k(vocabulary: Path, expected: int | None) -> int:
    tokens = vocabulary.read_text(encoding="utf-8").split()
    try:
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


def _is_sequence(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype == np.uint8 and value.ndim == 1
    return isinstance(value, str | bytes)


def _is_nested(batch: Any) -> bool:
    """Tell whether the rows of a batch are themselves lists (of words, or pairs)."""
    return isinstance(batch, list | tuple) and bool(batch) and isinstance(batch[0], list | tuple)


def _as_text(value: Any) -> Any:
    """Turn bytes and letters into str, in nested lists too, for the readable route."""
    if isinstance(value, list | tuple):
        return type(value)(map(_as_text, value))
    if isinstance(value, bytes | np.ndarray) and _is_sequence(value):
        return as_letters(value).tobytes().decode("latin-1")
    return value


def _all_sequences(batch: Sequence) -> bool:
    return set(map(type, batch)) <= {str, bytes} or all(map(_is_sequence, batch))


def _join(batch: Sequence) -> np.ndarray:
    if set(map(type, batch)) == {str}:
        return as_letters("".join(batch))
    return np.concatenate([as_letters(text) for text in batch])


def _check_letters(letters: np.ndarray, lengths: np.ndarray) -> None:
    wrong = ~_NUCLEOTIDE[letters]
    if wrong.any():
        place = int(wrong.argmax())
        row = int(np.searchsorted(np.cumsum(lengths), place, side="right"))
        position = place - int(lengths[:row].sum())
        raise _letter_error(row, position, chr(letters[place]))


def _letter_error(row: int, position: int, letter: str) -> ValueError:
    """Say what is wrong with a letter; row and position are 0-based and told 1-based."""
    return ValueError(
        f"row {row + 1}, position {position + 1}: {letter!r} is no nucleotide code "
        f"(allowed: {IUPAC} and U, either case)"
    )


def _check_policy(errors: str) -> None:
    if errors not in ("unk", "raise"):
        raise ValueError(f'errors must be "unk" or "raise", not {errors!r}')


def _padded_width(longest: int, strategy: PaddingStrategy, max_length: int | None, multiple_of: int | None) -> int:
    width = max_length if strategy == PaddingStrategy.MAX_LENGTH and max_length is not None else longest
    return -(-width // multiple_of) * multiple_of if multiple_of else width


def _moved_right(ids: np.ndarray, place: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Move the padding to the left: ``place`` is the old column of each new one, ``real`` where there is one."""
    if not ids.size:
        return np.full(place.shape, PAD)
    source = np.clip(place, 0, max(0, ids.shape[1] - 1))
    return np.where(real, np.take_along_axis(ids, source, 1), PAD)


def _wanted(asked: bool | None, name: str, tokenizer: KmerTokenizer) -> bool:
    return name in tokenizer.model_input_names if asked is None else asked


def _encoding(
    columns: dict[str, np.ndarray],
    row_widths: np.ndarray,
    counts: np.ndarray | None,
    *,
    left: bool,
    single: bool,
    tensor_type: Any,
) -> BatchEncoding:
    """Hand padded columns out as asked: tensors, or lists with each row as wide as it is to be.

    Args:
        columns: (rows, width) or (rows, width, 2) each.
        row_widths: tokens of each row, padding included, (rows,).
        counts: the column "length", (rows,), where it is wanted.
        left: the padding stands left.
        single: one sequence, so without the axis of rows in lists.
        tensor_type: None for lists.
    """
    content: dict[str, Any] = dict(columns)
    if tensor_type and TensorType(tensor_type) == TensorType.PYTORCH:
        import torch

        content = {name: torch.from_numpy(column) for name, column in columns.items()}  # shares the memory
    if not tensor_type or (row_widths != row_widths[0]).any():  # BatchEncoding knows what to say to the latter
        content = {name: _ragged(column, row_widths, left) for name, column in columns.items()}
    if counts is not None:
        content["length"] = counts.tolist()
    if single and not tensor_type:
        content = {name: column[0] for name, column in content.items()}
    return BatchEncoding(content, tensor_type=tensor_type)


def _ragged(column: np.ndarray, row_widths: np.ndarray, left: bool) -> list:
    """Turn a padded column into lists, each row as wide as it is to be; ``left`` where the padding stands left."""
    rows = column.tolist()
    if column.ndim == 3:
        rows = [[tuple(pair) for pair in row] for row in rows]
    pairs = zip(rows, row_widths.tolist(), strict=True)
    return [row[len(row) - width :] if left else row[:width] for row, width in pairs]


def _refuse_unknown(kwargs: dict[str, Any]) -> None:
    for name in kwargs:
        if name not in _FRAMEWORK_ARGUMENTS and not name.startswith("_"):
            close = difflib.get_close_matches(name.lower(), [*_OWN_ARGUMENTS, *_FRAMEWORK_ARGUMENTS], 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"KmerTokenizer has no argument {name!r}{hint}")


def _warn_if_mostly_unknown(unknown: np.ndarray) -> None:
    if 2 * np.count_nonzero(unknown) > unknown.size:
        logger.warning_once(
            "More than half of the k-mers of a batch are [UNK]: they touch letters other than A, C, G, T, U. "
            "Likely causes: protein or alignment instead of DNA, long runs of N, "
            "or text with separators other than blanks."
        )


KmerTokenizer.register_for_auto_class("AutoTokenizer")
