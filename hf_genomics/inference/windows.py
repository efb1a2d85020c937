"""Cut sequences into windows that a model can read, and check that sequences, parts and pairs fit a model.

Examples are cut in memory, and contigs while they are read from a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedModel

from ..batches.sequences import DataCollatorForSequences
from ..configuration_kmer_bert import FusionKmerBertConfig
from ..errors import InputError
from ..labelled.sequence_dataset import columns_beside
from ..labelled.sequences import LabelledSequences, rows_with_known_kmers
from ..loading.config_facts import longest_window, parts_of, shortest_sequence
from ..sequence import reverse_complement, tile, tile_all
from ..sequence_files.fasta import RecordChunk
from ..tokenization_kmer import KmerTokenizer
from .problems import UNKNOWN, Problem, too_long, too_short, wrong_letter


class Window(NamedTuple):
    """A stretch of a sequence, as a row for the collator.

    Attributes:
        sequence_index: index of the sequence, from 0, in the order of the file.
        name: id of the sequence.
        start: position of the first nucleotide of the window, 0-based.
        row: ``sequence`` (uint8 letters, (nt,)), and the pair and tracks if the model reads them.
        problem: why the window cannot be scored; None if it can, or if it has not been examined yet.
        tokens: number of tokens that stand for known nucleotides, and of all tokens without special ones; (0, 0) before
            the window is scored.
        left_out_after: number of nucleotides between the window and the end of those that follow it in the sequence and
            were left out; see `hf_genomics.interpretation.explain.check_windows`.
    """

    sequence_index: int
    name: str
    start: int
    row: dict[str, Any]
    problem: Problem | None = None
    tokens: tuple[int, int] = (0, 0)
    left_out_after: int = 0

    @property
    def end(self) -> int:
        """Position of the first nucleotide after the window, 0-based."""
        return self.start + len(self.row["sequence"])


def windows_of_examples(
    examples: LabelledSequences,
    model: PreTrainedModel,
    tokenizer: KmerTokenizer,
    first: int = 0,
) -> Iterator[Window]:
    """Iterate over the windows of examples; tracks per nucleotide are cut like their sequences; pairs are not cut.

    The windows of a sequence lie side by side; the last one is moved back so that it ends with the sequence.

    Args:
        examples: sequences, with the pairs and tracks that the model reads.
        model: model whose configuration sets the length of the windows.
        tokenizer: tokenizer of the model.
        first: index (``sequence_index``) of the first sequence.
    """
    if examples.pairs is not None:
        longest = max([1, *map(len, examples.sequences)])  # so that none is cut
    else:
        longest = longest_window(model.config, tokenizer)
    # An empty sequence gives one empty window, so that it keeps its place among the others.
    lengths = np.array([max(1, len(letters)) for letters in examples.sequences], np.int64)
    indices, starts, ends = tile_all(lengths, longest, longest, end="flush")
    for index, start, end in zip(indices.tolist(), starts.tolist(), ends.tolist(), strict=True):
        row = {"sequence": examples.sequences[index][start:end], **columns_beside(examples, index)}
        row.pop("nt_labels", None)  # not an input of the model, and as long as the whole sequence
        if "nt_tracks" in row:
            row["nt_tracks"] = row["nt_tracks"][start:end]
        yield Window(first + index, examples.ids[index], start, row)


def windows_of_chunks(chunks: Iterable[RecordChunk], longest: int) -> Iterator[Window]:
    """Iterate over the windows of the contigs of a file while it is read, as `windows_of_examples` would cut them.

    At most two windows and one chunk of a contig are held in memory.

    Args:
        chunks: chunks of contigs; the chunks of one contig follow one another, from its start to its end.
        longest: length of a window in nt; only a contig shorter than that gives a shorter window.
    """
    # Windows of 4 nt, 10 nt in `held`; the contig may end here or continue:
    #
    #     A C G T  A C G T  A C
    #     |-----|                  the first window is yielded now (ready = 4)
    #                  |-----|     the last window, if the contig ends here
    #
    # The last window then begins in the second one, so the last full window always stays in `held`.
    sequence_index, name, start, held = -1, "", 0, b""
    for chunk in chunks:
        if chunk.start == 0:
            yield from _cut(sequence_index, name, start, held, longest)
            sequence_index, name, start, held = sequence_index + 1, chunk.name, 0, b""
        held += chunk.letters
        ready = (len(held) // longest - 1) * longest
        if ready > 0:
            yield from _cut(sequence_index, name, start, held[:ready], longest)
            start, held = start + ready, held[ready:]
    yield from _cut(sequence_index, name, start, held, longest)


def _cut(sequence_index: int, name: str, offset: int, letters: bytes, longest: int) -> Iterator[Window]:
    """Iterate over the windows of the stretch of a contig that begins at ``offset``."""
    if sequence_index < 0:  # there is nothing to cut before the first contig
        return
    array = np.frombuffer(letters, np.uint8)
    if len(array) <= longest:  # quicker than `tile`: a file may hold millions of short reads
        yield Window(sequence_index, name, offset, {"sequence": array})
        return
    starts, ends = tile(len(array), longest, longest, end="flush")
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield Window(sequence_index, name, offset + start, {"sequence": array[start:end]})


def with_other_strand(windows: Iterable[Window], longest: int) -> Iterator[Window]:
    """Iterate over the windows of each sequence, and then over those of its reverse complement.

    The windows of the reverse complement are cut from its own start, so that a sequence and its reverse complement have
    the same windows, in another order. Their ``start`` counts from there. Nothing marks them as windows of the other
    strand: the caller is to combine all windows with the same ``sequence_index``. All windows of one sequence are held
    in memory.

    Args:
        windows: windows of whole sequences; those of one sequence follow one another, from its start to its end.
        longest: length of a window in nt, by which they were cut.
    """
    for _, group in groupby(windows, lambda window: window.sequence_index):
        held = list(group)
        yield from held
        if all(window.problem is None for window in held):  # otherwise the sequence has no score anyway
            yield from _of_other_strand(held, longest)


def _of_other_strand(windows: list[Window], longest: int) -> Iterator[Window]:
    """Iterate over the windows of the reverse complement of a sequence that is given by its windows."""
    first = windows[0]
    row = dict(first.row)
    for name, reverse in (("sequence", reverse_complement), ("nt_tracks", np.flipud)):
        if name in row:
            # The last window overlaps the one before it.
            ends = [0, *(window.end for window in windows[:-1])]
            pieces = [window.row[name][end - window.start :] for end, window in zip(ends, windows, strict=True)]
            row[name] = reverse(np.concatenate(pieces))
    if "pair" in row:
        row["pair"] = reverse_complement(row["pair"])
    length = len(row["sequence"])
    size = max(1, length) if "pair" in row else longest  # pairs are not cut
    for start in range(0, max(1, length), size):
        begin = max(0, min(start, length - size))  # the last window ends with the sequence
        cut = {name: row[name][begin : begin + size] for name in ("sequence", "nt_tracks") if name in row}
        yield Window(first.sequence_index, first.name, begin, row | cut)


def with_other_frames(windows: Iterable[Window], stride: int, frames: int, shortest: int) -> Iterator[Window]:
    """Iterate over windows, each followed by itself without its first letters, so that it is cut into other k-mers.

    At stride s, a sequence can be cut into k-mers in s ways, its frames: from its first letter, from its second one,
    and so on. The k-mers of two frames start at different places, so a model reads two frames as different sequences.
    Nothing marks the windows of other frames: the caller is to combine all windows with the same ``sequence_index``.

    Args:
        windows: windows.
        stride: stride of the tokenizer.
        frames: number of frames, spread evenly over the stride; all of them if there are no more.
        shortest: shortest window that the model reads, in nt; no window is cut to fewer letters.
    """
    chosen = min(frames, stride)
    shifts = [index * stride // chosen for index in range(1, chosen)]
    for window in windows:
        yield window
        cut = [name for name in ("sequence", "pair", "nt_tracks") if name in window.row]
        for shift in shifts:
            shifted = {name: window.row[name][shift:] for name in cut}
            if min(map(len, shifted.values())) >= shortest:
                yield window._replace(start=window.start + shift, row=window.row | shifted)


def versions_of(window: Window, stride: int, both_strands: bool, frames: int, shortest: int) -> list[Window]:
    """Return a window and what its score is averaged with: its reverse complement, and both in other frames.

    Args:
        window: a window without a pair; it comes first in the list. If it has a problem, it stays alone.
        stride: stride of the tokenizer.
        both_strands: whether the reverse complement is among them.
        frames: as in `with_other_frames`.
        shortest: as in `with_other_frames`.
    """
    if window.problem:
        return [window]
    length = max(1, len(window.row["sequence"]))
    other = _of_other_strand([window._replace(start=0)], length) if both_strands else ()
    return list(with_other_frames([window, *other], stride, frames, shortest))


def check_frames(frames: int) -> None:
    """Raise InputError unless a number of frames is at least 1."""
    if frames < 1:
        raise InputError(f"frames must be at least 1, not {frames}")


def collator_for(config: Any, tokenizer: KmerTokenizer, rc_probability: float = 0, seed: int = 0) -> Any:
    """Build the collator that cuts sequences into parts as a model's configuration says.

    Args:
        config: configuration of the model.
        tokenizer: tokenizer of the model.
        rc_probability: probability that the collator turns a sequence into its reverse complement (for training).
        seed: seed for the random choice of the sequences.
    """
    parts, part_length = parts_of(config)
    return DataCollatorForSequences(tokenizer, rc_probability, seed, num_parts=parts, part_length=part_length)


def check_positions(tokenizer: KmerTokenizer, length: int, positions: int, what: str, remedy: str) -> None:
    """Check that a sequence fits into the positions of a model.

    Args:
        tokenizer: tokenizer of the model.
        length: length of the sequence in nt.
        positions: largest number of tokens that the model reads, [CLS] and [SEP] included.
        what: name of the sequence, or of the option that sets its length, for the error message.
        remedy: what the user can do, for the error message.

    Raises:
        InputError: if the sequence gives more tokens.
    """
    tokens = tokenizer.num_tokens(length)
    if tokens > positions:
        raise InputError(
            f"{what} of {length} nt gives {tokens} tokens with [CLS] and [SEP], the model takes {positions}; {remedy}"
        )


def check_pairs(examples: LabelledSequences, tokenizer: KmerTokenizer, positions: int) -> None:
    """Check that both sequences of every pair fit the model together.

    Args:
        examples: pairs of sequences.
        tokenizer: tokenizer of the model.
        positions: largest number of tokens that the model reads, special tokens included.

    Raises:
        InputError: naming the first pair that does not fit.
    """
    for name, first, second in zip(examples.ids, examples.sequences, examples.pairs or [], strict=True):
        tokens = pair_tokens(tokenizer, first, second)
        if tokens > positions:
            raise InputError(
                f"{examples.source}: pair {name} of {len(first)} and {len(second)} nt gives {tokens} tokens, the model "
                f"takes {positions}; shorten it"
            )


def pair_tokens(tokenizer: KmerTokenizer, first: np.ndarray, second: np.ndarray) -> int:
    """Count the tokens of a pair of sequences, special tokens included."""
    # A row is [CLS] first [SEP] second [SEP]: one special token less than two rows of one sequence.
    return tokenizer.num_tokens(len(first)) + tokenizer.num_tokens(len(second)) - 1


def problem_before_reading(window: Window, model: PreTrainedModel, tokenizer: KmerTokenizer) -> Problem | None:
    """Return why a model cannot read a window, or None.

    Args:
        window: a window; its own problem, if it has one, comes first.
        model: the model.
        tokenizer: tokenizer of the model.
    """
    if window.problem is not None:
        return window.problem
    sequences = [window.row[name] for name in ("sequence", "pair") if name in window.row]
    return problem_of_length(sequences, model, tokenizer)


def row_problems(examples: LabelledSequences, model: PreTrainedModel, tokenizer: KmerTokenizer) -> dict[int, Problem]:
    """Find the examples that a model cannot score, as far as their letters show it.

    Args:
        examples: sequences or pairs, whose letters need not have been checked.
        model: the model.
        tokenizer: tokenizer of the model.

    Returns:
        index of the row -> its problem.
    """
    columns = [examples.sequences] if examples.pairs is None else [examples.sequences, examples.pairs]
    known = {*rows_with_known_kmers(examples, tokenizer.k)}
    found: dict[int, Problem] = {}
    for row, sequences in enumerate(zip(*columns, strict=True)):
        wrong = next(filter(None, map(wrong_letter, sequences)), None)
        problem = wrong or problem_of_length(sequences, model, tokenizer) or (None if row in known else UNKNOWN)
        if problem:
            found[row] = problem
    return found


def problem_of_length(
    sequences: Sequence[np.ndarray], model: PreTrainedModel, tokenizer: KmerTokenizer
) -> Problem | None:
    """Return why a sequence, or a pair, is too short for a model, or a pair too long; None if it is not.

    A single sequence is never too long, because it is cut into windows.

    Args:
        sequences: letters of the sequence, or of both sequences of the pair.
        model: the model.
        tokenizer: tokenizer of the model.
    """
    shortest, lengths = shortest_sequence(model, tokenizer.k), [*map(len, sequences)]
    if min(lengths) < shortest:
        return too_short(min(lengths), shortest)
    if len(sequences) == 2:
        return too_long(lengths, pair_tokens(tokenizer, *sequences), model.config.max_position_embeddings)
    return None


def check_longest(examples: LabelledSequences, tokenizer: KmerTokenizer, config: Any) -> None:
    """Check that all examples fit the model: every pair, or the longest sequence, or the longest part of it.

    Args:
        examples: sequences to train on.
        tokenizer: tokenizer of the model.
        config: configuration of the model.

    Raises:
        InputError: naming a sequence or pair that is too long, its length and what to do.
    """
    if examples.pairs is not None:
        return check_pairs(examples, tokenizer, config.max_position_embeddings)
    length, name = max((len(sequence), name) for sequence, name in zip(examples.sequences, examples.ids, strict=True))
    parts, part_length = parts_of(config)
    longest = min(length, part_length) if part_length else math.ceil(length / parts)
    # "x.fa: sequence s7: a part of 900 nt gives 897 tokens with [CLS] and [SEP], the model takes 512; ..."
    what = f"{examples.source}: sequence {name}: {'a part' if parts > 1 or part_length else 'a length'}"
    if part_length:
        remedy = "lower head.part_length"
    elif config.labels_per == "nt" or isinstance(config, FusionKmerBertConfig):  # such a model does not read parts
        remedy = "shorten it"
    else:
        remedy = "shorten it, cut every sequence into more parts by head.num_parts"
    remedy += ", or let the model read more tokens by head.stretch_positions"
    check_positions(tokenizer, longest, config.max_position_embeddings, what, remedy)
    return None
