"""Cut sequences into windows that a model can read."""

from __future__ import annotations

from typing import Any, NamedTuple

from transformers import PreTrainedModel

from ..batches.sequences import DataCollatorForSequences
from ..errors import InputError
from ..labelled.sequences import LabelledSequences
from ..labelled.windows import annotations_of, tile
from ..tokenization_kmer import KmerTokenizer


def check_positions(tokenizer: KmerTokenizer, length: int, positions: int, what: str, way_out: str) -> None:
    """Check that windows of ``length`` nt fit the model; ``what`` names their place, ``way_out`` what to do.

    Raises:
        InputError: naming the key, the length and the ways out.
    """
    tokens = tokenizer.num_tokens(length)
    if tokens > positions:
        raise InputError(
            f"{what} of {length} nt gives {tokens} tokens with [CLS] and [SEP], the model takes {positions}; {way_out}"
        )


class Window(NamedTuple):
    """A stretch of a sequence as a row for the collator."""

    owner: int  # number of the sequence
    start: int  # nt
    row: dict[str, Any]


def cut_windows(network: PreTrainedModel, tokenizer: KmerTokenizer, examples: LabelledSequences) -> list[Window]:
    """Cut sequences into windows that the model can read; signals per nucleotide are cut along.

    Raises:
        InputError: if a pair, which cannot be cut, does not fit the model.
    """
    config = network.config
    if examples.pairs is not None:
        check_pairs(examples, tokenizer, config.max_position_embeddings)
    most = (
        _longest_window(config, tokenizer) if examples.pairs is None else max(map(len, examples.sequences), default=1)
    )
    windows = []
    for owner, letters in enumerate(examples.sequences):
        beside = annotations_of(examples, owner)
        beside.pop("nt_labels", None)
        signals = beside.pop("nt_tracks", None)
        starts = tile(len(letters), most, most).tolist() or [0]
        if starts[-1] + most < len(letters):
            starts.append(len(letters) - most)
        for start in starts:
            row = {"sequence": letters[start : start + most], **beside}
            row |= {} if signals is None else {"nt_tracks": signals[start : start + most]}
            windows.append(Window(owner, start, row))
    return windows


def check_pairs(examples: LabelledSequences, tokenizer: KmerTokenizer, positions: int) -> None:
    """Check that both sequences of every pair fit the model together.

    Raises:
        InputError: naming the pair.
    """
    for name, first, second in zip(examples.ids, examples.sequences, examples.pairs or [], strict=True):
        tokens = tokenizer.num_tokens(len(first)) + tokenizer.num_tokens(len(second)) - 1
        if tokens > positions:
            raise InputError(
                f"{examples.source}: pair {name} of {len(first)} and {len(second)} nt gives {tokens} tokens, the model "
                f"takes {positions}; shorten it"
            )


def _longest_window(config: Any, tokenizer: KmerTokenizer) -> int:
    """Give the longest sequence, in nt, that a model reads at once: no longer than those it was fine-tuned on."""
    fits = (config.max_position_embeddings - 3) * tokenizer.stride + tokenizer.k
    parts, part_length = getattr(config, "num_parts", 1), getattr(config, "part_length", None)
    most = parts * (part_length or fits)
    if part_length and config.aggregation != "concat":  # any number of parts
        return config.max_sequence_length or most
    return min(most, config.max_sequence_length or most)


def collator_for(config: Any, tokenizer: KmerTokenizer, rc_probability: float = 0, seed: int = 0) -> Any:
    """Make the collator that cuts sequences as a model's configuration says."""
    parts, part_length = getattr(config, "num_parts", 1), getattr(config, "part_length", None)
    return DataCollatorForSequences(tokenizer, rc_probability, seed, num_parts=parts, part_length=part_length)


def check_longest(examples: LabelledSequences, tokenizer: KmerTokenizer, config: Any) -> None:
    """Check that the longest sequence, or its longest part, or every pair fits the model.

    Raises:
        InputError: naming the sequence, its length and the ways out.
    """
    if examples.pairs is not None:
        return check_pairs(examples, tokenizer, config.max_position_embeddings)
    length, name = max((len(sequence), name) for sequence, name in zip(examples.sequences, examples.ids, strict=True))
    parts, part_length = getattr(config, "num_parts", 1), getattr(config, "part_length", None)
    shorter = "lower part_length" if part_length else "shorten it, cut every sequence into more parts by num_parts"
    check_positions(
        tokenizer,
        min(length, part_length) if part_length else -(-length // parts),
        config.max_position_embeddings,
        f"{examples.source}: sequence {name}: {'a part' if parts > 1 or part_length else 'a length'}",
        way_out=f"{shorter}, or read more by stretch_positions",
    )
    return None
