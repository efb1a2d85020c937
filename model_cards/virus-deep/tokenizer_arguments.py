"""Check and read what callers pass to `KmerTokenizer`: its settings, the options of a call, and the sequences."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedConfig
from transformers.tokenization_utils_base import TruncationStrategy
from transformers.utils import PaddingStrategy, logging

from .kmer_decoding import is_kmer
from .sequence import check_kmer, did_you_mean

logger = logging.get_logger(__name__)

OWN_ARGUMENTS = "k stride errors allow_gaps allow_large_k pad_token unk_token cls_token sep_token mask_token".split()
# Everything else that a saved tokenizer_config.json or from_pretrained may contain. Transformers keeps unknown names
# silently, so a misspelt `strid=3` would leave the stride at 1.
_FRAMEWORK_ARGUMENTS = frozenset(
    "added_tokens_decoder additional_special_tokens auto_map backend bos_token chat_control_tokens "
    "chat_template clean_up_tokenization_spaces "
    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output do_lower_case eos_token "
    "extra_special_tokens files_loaded is_local local_files_only max_len model_input_names model_max_length "
    "model_specific_special_tokens name_or_path padding_side processor_class response_schema response_template "
    "special_tokens_map_file special_tokens_pattern split_special_tokens token_type_ids_include_special_tokens "
    "token_type_ids_pattern tokenizer_class tokenizer_file truncation_side trust_remote_code verbose vocab_file".split()
)
#: Settings that a BertTokenizer saves and that make no difference once its vocabulary is known to consist of k-mers.
BERT_ARGUMENTS = frozenset(
    "do_lower_case do_basic_tokenize full_tokenizer_file never_split strip_accents tokenize_chinese_chars "
    "wordpieces_prefix".split()
)
NO_LIMIT = 10**20  # transformers sets model_max_length to a larger number where a tokenizer has none
# Arguments of from_pretrained that say where to find a file.
_PLACES = "cache_dir force_download local_files_only revision subfolder token".split()


# Settings of the tokenizer.


def check_arguments(arguments: Iterable[str], cls: type) -> None:
    """Check that arguments of the constructor are known to us or to transformers.

    Args:
        arguments: names of the arguments.
        cls: the tokenizer class; names of its methods are left to transformers to reject.

    Raises:
        TypeError: if an argument is unknown; the message names the class, the argument and, if there is one, a
            similar argument.
    """
    known = [*OWN_ARGUMENTS, *sorted(_FRAMEWORK_ARGUMENTS)]
    for name in arguments:
        if name not in known and not name.startswith("_") and not callable(getattr(cls, name, None)):
            raise TypeError(f"{cls.__name__} has no argument {name!r}{did_you_mean(name, known)}")


def named_tokens(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the special tokens that have names of their own in a saved tokenizer, such as {"species": "[HUMAN]"}.

    transformers saves each of them as a setting, and has no list of their names: they are the unknown settings whose
    value is an added token.

    Args:
        settings: content of tokenizer_config.json.
    """
    added = settings.get("added_tokens_decoder") or {}
    special = {_content(token) for token in added.values()}
    known = {*OWN_ARGUMENTS, *_FRAMEWORK_ARGUMENTS}
    return {name: value for name, value in settings.items() if name not in known and _content(value) in special}


def _content(token: Any) -> str:
    """Return the text of a token: a str, an AddedToken, or what a file says of one."""
    return str(token.get("content")) if isinstance(token, dict) else str(token)


def check_size(k: int, stride: int, allow_gaps: bool, allow_large_k: bool) -> None:
    """Check k and stride; see `check_kmer`.

    Raises:
        ValueError: if one is out of range.
    """
    try:
        check_kmer(k, stride, max_k=12 if allow_large_k else 8, allow_gaps=allow_gaps)
    except ValueError as error:
        would_help = "k must lie" in str(error) and not allow_large_k and 8 < k <= 12
        remedy = "; allow_large_k=True accepts up to 12" if would_help else ""
        raise ValueError(f"{error}{remedy}") from None


def limit_beside(name_or_path: str | os.PathLike, limit: int, options: Mapping[str, Any]) -> int:
    """Return how many tokens a tokenizer should pass to the model that was saved beside it.

    A tokenizer that is saved by itself does not know the model; ``truncation=True`` and pipelines need the limit.

    Args:
        name_or_path: folder or Hub name of the tokenizer.
        limit: the limit that was saved with the tokenizer.
        options: what was passed to ``from_pretrained`` (such as ``subfolder``).
    """
    where = {name: options[name] for name in _PLACES if options.get(name) is not None}
    try:
        settings = PreTrainedConfig.get_config_dict(name_or_path, **where)[0]
    except (OSError, ValueError):  # no model there, or a damaged one, about which its own loader raises an error
        return limit
    positions = settings.get("max_position_embeddings")
    if not isinstance(positions, int) or positions < 1:
        return limit
    # Positions without a table have no end: a limit that somebody chose may exceed the lengths of training.
    has_table = settings.get("position_embedding_type") not in ("sinusoidal", "rotary")
    return min(limit, positions) if has_table or limit > NO_LIMIT else limit


def check_policy(errors: str) -> None:
    """Check the policy for characters that are not nucleotide codes.

    Raises:
        ValueError: if it is neither "unk" nor "raise".
    """
    if errors not in ("unk", "raise"):
        raise ValueError(f'errors must be "unk" or "raise", not {errors!r}')


def check_special_names(names: list[str], k: int) -> None:
    """Check that the names of the special tokens can be told apart, from each other and from k-mers.

    Args:
        names: the five names; "None" for a token that the tokenizer does not have.
        k: k-mer size in nt.

    Raises:
        ValueError: naming the first name that is empty, used twice, or a k-mer.
    """
    named = [name for name in names if name != "None"]
    for name in named:
        if not name or named.count(name) > 1 or is_kmer(name, k):
            raise ValueError(f"special token name {name!r} is empty, used twice, or a {k}-mer; choose another name")


# Options of a call.


class CallOptions(NamedTuple):
    """The options of a call that concern encoding; see ``PreTrainedTokenizerBase.__call__`` and `KmerTokenizer`."""

    add_special_tokens: bool = True
    padding_strategy: PaddingStrategy = PaddingStrategy.DO_NOT_PAD
    truncation_strategy: TruncationStrategy = TruncationStrategy.DO_NOT_TRUNCATE
    max_length: int | None = None
    stride: int = 0  # tokens that the overflowing ones share with the row; not the tokenizer's stride, which is in nt
    is_split_into_words: bool = False
    pad_to_multiple_of: int | None = None
    padding_side: str | None = None
    return_tensors: Any = None
    return_token_type_ids: bool | None = None
    return_attention_mask: bool | None = None
    return_overflowing_tokens: bool = False
    return_special_tokens_mask: bool = False
    return_length: bool = False
    verbose: bool = True
    split_special_tokens: bool | None = None
    # The options below are ours, except for return_offsets_mapping, which transformers' fast tokenizers have too.
    return_offsets_mapping: bool = False
    return_soft_masked: bool = False
    return_uncovered_nt: bool = False
    errors: str | None = None


#: Options that need the letters of a text, and have no meaning for token ids.
NEED_TEXT = ("return_offsets_mapping", "return_soft_masked", "return_uncovered_nt")
#: Options that the code of transformers for tokenizers written in Python does not take.
OWN_OPTIONS = {"errors", *NEED_TEXT}
CALL_OPTIONS = frozenset(CallOptions._fields)


def read_options(options: dict[str, Any]) -> CallOptions:
    """Read the options of a call; ignore unknown ones with a warning, as transformers does.

    Raises:
        TypeError: if an unknown option looks like a misspelt one.
    """
    # sanitize_control_tokens is set by transformers' `apply_chat_template`; the tokenizer itself looks for it.
    for name in options.keys() - CALL_OPTIONS - {"sanitize_control_tokens"}:
        suggestion = did_you_mean(name, [*CallOptions._fields, "padding", "truncation"])
        if suggestion:
            raise TypeError(f"a call of KmerTokenizer has no option {name!r}{suggestion}")
        # `windows` is an option of our pipelines; a pipeline of transformers hands it on to the tokenizer.
        remedy = "; a pipeline knows it after `import hf_genomics`" if name == "windows" else ""
        logger.warning_once(f"a call of KmerTokenizer has no option {name!r}; it is ignored{remedy}")
    return CallOptions(**{name: value for name, value in options.items() if name in CALL_OPTIONS})


def check_window_options(options: dict[str, Any], sequence: Any) -> None:
    """Check the sequence and the options of `KmerTokenizer.windows`.

    Raises:
        TypeError: if an option is unknown, or ``sequence`` is not one sequence.
    """
    known = [*CallOptions._fields, "padding", "truncation"]
    for name in options:
        if name not in known:
            raise TypeError(f"windows has no option {name!r}{did_you_mean(name, [*known, 'overlap'])}")
    if not is_sequence(sequence):
        raise TypeError(f"windows cuts one sequence: give str, bytes or uint8 letters, not {type(sequence).__name__}")


# Sequences of a call.


def is_sequence(value: Any) -> bool:
    """Check whether a value is one sequence: str, bytes or uint8 letters.

    >>> is_sequence("ACGT"), is_sequence(np.zeros(4, np.uint8)), is_sequence(["ACGT"])
    (True, True, False)
    """
    if isinstance(value, np.ndarray):
        return value.dtype == np.uint8 and value.ndim == 1
    return isinstance(value, str | bytes)


def read_rows(text: Any, text_pair: Any, words: bool) -> tuple[list[tuple[Any, Any]], bool]:
    """Distinguish a batch from a single row, and pairs from single sequences, by transformers' rules.

    Args:
        text: as in ``PreTrainedTokenizerBase.__call__``.
        text_pair: as in ``PreTrainedTokenizerBase.__call__``.
        words: whether sequences are lists of pre-tokenised words.

    Returns:
        Rows of (sequence, second sequence or None), and whether the call was for a single row.

    Raises:
        ValueError: if sequences and second sequences do not match.
    """
    inner = list | tuple
    if not isinstance(text, inner):
        return [(text, text_pair)], True
    if words:
        batched = bool(text) and isinstance(text[0], inner)
    else:
        batched = not text or not isinstance(text[0], int)  # a list of int is one row of ids
    if not batched:
        return [(text, text_pair)], True
    if text_pair is not None and (not isinstance(text_pair, inner) or len(text_pair) != len(text)):
        raise ValueError("If `text` is a batch, `text_pair` must also be a batch of the same length.")
    others = [None] * len(text) if text_pair is None else text_pair
    return [_read_row(row, other, words) for row, other in zip(text, others, strict=True)], False


def _read_row(row: Any, other: Any, words: bool) -> tuple[Any, Any]:
    """Read one row of a batch, which may itself be a pair."""
    if other is not None or not isinstance(row, list | tuple) or not row or isinstance(row[0], int):
        return row, other  # the second sequence is known, or the row is a text, empty, or a list of token ids
    if len(row) == 2 and (isinstance(row, tuple) or not words):
        return row[0], row[1]  # a pair of sequences
    if len(row) == 1:
        return row[0], None  # a list of one sequence, or of one word
    if not words:
        raise ValueError(f"Expected a pair of sequences, got {len(row)} sequences.")
    return row, None  # a list of words


def pieces_of(sequence: Any, words: bool, name: str) -> list[Any] | None:
    """List the pieces of a sequence: only the sequence itself, or its pre-tokenised words.

    Args:
        sequence: str, bytes, uint8 letters, or a list of them.
        words: whether lists contain pre-tokenised words.
        name: how the error message names the sequence.

    Returns:
        The pieces; None if the sequence consists of token ids or tokens instead of text.

    Raises:
        ValueError: if the value is not a sequence or a list of any of these kinds.
    """
    if is_sequence(sequence):
        return [sequence]
    if isinstance(sequence, list | tuple) and sequence:
        if isinstance(sequence[0], int):
            return None
        if all(map(is_sequence, sequence)):
            return list(sequence) if words else None
    if type(sequence).__name__ == "Column":  # of datasets
        raise ValueError(f"{name} is a column of a data set, which stands for many sequences; use list(...)")
    raise ValueError(
        f"{name}: {str(sequence)[:30]!r} is not a sequence but a {type(sequence).__name__}; give str, bytes or uint8 "
        "letters (lists of words with is_split_into_words=True)"
    )


class CallPieces(NamedTuple):
    """The sequences of a call, as pieces.

    Attributes:
        pieces: sequences or pre-tokenised words: str, bytes or uint8 letters.
        owner: index of the sequence that each piece belongs to.
        descriptions: how error messages name each piece.
        pair: whether rows have two sequences.
    """

    pieces: list[Any]
    owner: list[int]
    descriptions: list[str]
    pair: bool


def read_pieces(rows: list[tuple[Any, Any]], words: bool) -> CallPieces | None:
    """Read rows of sequences as pieces.

    Args:
        rows: (sequence, second sequence or None) of each row; see `read_rows`.
        words: whether sequences are lists of pre-tokenised words.

    Returns:
        The pieces; None if the rows consist of token ids or tokens instead of text.

    Raises:
        ValueError: if a value is not a sequence.
    """
    pair = any(second is not None for _, second in rows)
    found = CallPieces([], [], [], pair)
    for number, row in enumerate(rows):
        for second, sequence in enumerate(row if pair else row[:1]):
            name = f"row {number + 1}{', second sequence' if second else ''}"
            pieces = pieces_of(sequence, words, name)
            if pieces is None:
                return None
            found.pieces.extend(pieces)
            found.owner.extend([number * (2 if pair else 1) + second] * len(pieces))
            found.descriptions.extend([f"{name}, word {word + 1}" for word in range(len(pieces))] if words else [name])
    return found
