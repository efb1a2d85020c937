"""Combine vectors of tokens into one per sequence or one per nucleotide, and values of nucleotides into one per token.

A token is a k-mer, k consecutive nucleotides of DNA, or a special token such as [CLS]; a k-mer starts every ``stride``
nucleotides. Each result depends on one sequence only, never on padding or on other sequences. A row holds one
sequence, padded on either side, or several packed sequences, each with positions that start again.
"""

import torch
from torch import Tensor

from .compat import is_tracing


def packed_starts(position_ids: Tensor) -> Tensor:
    """Mark where sequences start in packed rows: where a position is not the previous one plus 1.

    >>> packed_starts(torch.tensor([[0, 1, 2, 0, 1]])).int().tolist()
    [[1, 0, 0, 1, 0]]

    Args:
        position_ids: (rows, tokens).

    Returns:
        bool (rows, tokens), True on the first token of each sequence, and so of each row.
    """
    starts = torch.ones_like(position_ids, dtype=torch.bool)
    starts[:, 1:] = position_ids.diff(dim=1) != 1
    return starts


def unpack(columns: list[Tensor], attention_mask: Tensor | None, position_ids: Tensor | None) -> list[Tensor]:
    """Copy every packed sequence into a row of its own; if no row holds more than one, return the columns as they are.

    An exported program cannot unpack, since its number of rows must not depend on the values of positions; give it one
    sequence per row.

    Args:
        columns: (rows, tokens, ...) each.
        attention_mask: (rows, tokens), 0 on padding; None for no padding.
        position_ids: (rows, tokens) or (1, tokens); None if rows are not packed.

    Returns:
        The columns, (sequences, longest, ...) each, with the sequences of the first row first, and 0 on padding. After
        them, a mask (sequences, longest), False on padding.
    """
    columns = [*columns, _real(columns[0], attention_mask)]
    return columns if position_ids is None else _unpack(columns, position_ids)


@torch.compiler.disable(
    reason="the number of sequences depends on the values of position_ids, which a graph does not know"
)
def _unpack(columns: list[Tensor], position_ids: Tensor) -> list[Tensor]:
    """Unpack columns, the last of which is False on padding; see `unpack`."""
    real = columns[-1]
    # is_exporting is called here, outside every graph: inside one, torch 2.11 returns True even without any export.
    starts = None if torch.compiler.is_exporting() else _real_starts(real, position_ids)
    if starts is None:
        return columns
    sequence = starts.flatten().cumsum(0) - 1  # the number of the sequence that each token belongs to
    index = torch.arange(sequence.numel(), device=real.device)
    offset = index - index[starts.flatten()][sequence.clamp(min=0)]  # tokens since the start of that sequence
    rows, places = sequence[real.flatten()], offset[real.flatten()]
    size = (int(rows.max()) + 1, int(places.max()) + 1)
    unpacked = []
    for column in columns:
        padded = column.new_zeros(*size, *column.shape[2:])
        padded[rows, places] = column.flatten(0, 1)[real.flatten()]
        unpacked.append(padded)
    return unpacked


def first_tokens(hidden: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None) -> Tensor:
    """Mark the first token of every sequence, the only one that the pooling "cls" reads.

    Args:
        hidden: (rows, tokens, ...).
        attention_mask: (rows, tokens), 0 on padding; None for no padding.
        position_ids: (rows, tokens) or (1, tokens); None if rows are not packed.

    Returns:
        bool (rows, tokens).
    """
    real = _real(hidden, attention_mask)
    starts = None if position_ids is None else _real_starts(real, position_ids)
    if starts is not None:
        return starts
    return torch.zeros_like(real).scatter(1, _first(real)[:, None], True)  # one sequence in each row


def _real(column: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Mark the tokens that are not padding, bool (rows, tokens).

    A mask with more axes says which tokens attend to which, such as (rows, 1, tokens, tokens); it names no padding.
    """
    if attention_mask is not None and attention_mask.ndim == 2:
        return attention_mask.bool()
    return torch.ones(column.shape[:2], dtype=torch.bool, device=column.device)


def _real_starts(real: Tensor, position_ids: Tensor) -> Tensor | None:
    """Mark the first real token of each sequence, bool (rows, tokens); None if no row holds more than one sequence."""
    starts = packed_starts(position_ids).expand_as(real).clone()
    starts[:, 1:] |= ~real[:, :-1]  # the first token after padding on the left
    starts &= real
    return None if (starts.sum(1) <= 1).all() else starts


def _first(real: Tensor) -> Tensor:
    """Return the index of the first real token of each row, (rows,): 0, unless the row is padded on the left."""
    return real.int().argmax(1)


def pool(hidden: Tensor, real: Tensor, how: str, scores: Tensor | None = None) -> Tensor:
    """Reduce the tokens of each sequence, including [CLS] and [SEP] and excluding padding, to one vector.

    Args:
        hidden: (rows, tokens, hidden).
        real: bool (rows, tokens), False on padding.
        how: "cls" (the first token), "mean", "max" or "attention" (mean weighted by the softmax of ``scores``).
        scores: (rows, tokens), for "attention"; without scores that is the plain mean.

    Returns:
        (rows, hidden); for a row of nothing but padding 0, except for "cls".
    """
    if how == "cls":
        # Not len(hidden): that would fix the number of rows in an exported program.
        return hidden[torch.arange(hidden.shape[0], device=hidden.device), _first(real)]
    padding = ~real.unsqueeze(-1)
    if how == "max":
        highest = hidden.masked_fill(padding, torch.finfo(hidden.dtype).min).amax(1)
        return highest.masked_fill(padding.all(1), 0)
    weights = real.to(hidden.dtype)
    if how == "attention" and scores is not None:
        weights = scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(1) * weights
    total = weights.sum(1, keepdim=True)
    weights = weights / total.where(total > 0, 1)
    return (weights.unsqueeze(1) @ hidden.masked_fill(padding, 0)).squeeze(1)


def tokens_to_nt(tokens: Tensor, kmers: Tensor, k: int, stride: int, length: int | None = None) -> Tensor:
    """Compute the vector of each nucleotide: the mean over the k-mers that cover it.

    A nucleotide that no k-mer covers gets the vector of the k-mer before it. Such nucleotides are the last
    ``(sequence length - k) % stride`` ones, and the gaps between k-mers if stride > k.

    Args:
        tokens: a vector per token, (rows, tokens, size).
        kmers: bool (rows, tokens), True on k-mers, which must follow each other in a row; False on [CLS], [SEP] and
            padding.
        k: k-mer size in nt.
        stride: nt between the starts of neighbouring k-mers.
        length: number of nt to return; by default as many as the longest sequence of this many tokens can have.

    Returns:
        (rows, length, size). Beyond the end of a row's sequence the vector of its last k-mer is repeated; ignore it.
        Rows without a k-mer are 0.

    Raises:
        ValueError: if other tokens lie between the k-mers of a row.

    Source: DNABERT (Ji et al. 2021) spreads attention over nucleotides in this way.
    """
    check_side_by_side(kmers)
    counts = kmers.sum(1, keepdim=True)  # (rows, 1)
    if length is None:
        length = kmers.shape[1] * stride + k - 1 if is_tracing(kmers) else nt_reach(kmers, k, stride)
    # A nucleotide is covered by the k-mers from `first` to `last`, which are numbers within the row. With k 3, stride 2
    # and three k-mers a, b, c, of a sequence of 7 or 8 nucleotides:
    #
    #     nucleotide    0 1 2 3 4 5 6 7
    #     a             x x x
    #     b                 x x x
    #     c                     x x x
    #     last          a a b b c c c c     the last k-mer that starts at or before the nucleotide
    #     first         a a a b b c c c     the first k-mer that reaches it; 7 is not covered and takes the k-mer before
    nt = torch.arange(length, device=tokens.device)
    last = (nt // stride).clamp(max=counts - 1)  # (rows, length)
    first = torch.minimum(last, (nt - k + stride).div(stride, rounding_mode="floor").clamp(min=0))
    begin = kmers.int().argmax(1, keepdim=True)
    total = tokens.new_zeros(*last.shape, tokens.shape[-1])
    for back in range(-(-k // stride)):  # k / stride, rounded up: as many k-mers cover a nucleotide at most
        covers = (last - back >= first).unsqueeze(-1)
        index = (begin + last - back).clamp(min=0).unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
        total = total + tokens.gather(1, index).where(covers & (counts > 0).unsqueeze(-1), 0)
    return total / (last - first + 1).unsqueeze(-1)


def nt_to_tokens(values: Tensor, kmers: Tensor, k: int, stride: int, elsewhere: Tensor) -> Tensor:
    """Compute the values of each k-mer: the mean over its nucleotides.

    Args:
        values: (rows, nt, size), with at least as many nt as the k-mers cover.
        kmers: bool (rows, tokens), as in `tokens_to_nt`.
        k: k-mer size in nt.
        stride: nt between the starts of neighbouring k-mers.
        elsewhere: (size,), the values of tokens that are not k-mers.

    Returns:
        (rows, tokens, size).

    Raises:
        ValueError: if the k-mers cover more nt than there are values, or other tokens lie between the k-mers of a row.
    """
    check_side_by_side(kmers)
    if not is_tracing(kmers) and (most := int(kmers.sum(1).max())):
        reach = (most - 1) * stride + k
        if values.shape[1] < reach:
            raise ValueError(f"values for {values.shape[1]} nt, but the tokens cover {reach}; give one per nucleotide")
    # A mean is computed for as many k-mers as there are columns, although some columns hold [CLS] or padding. So values
    # may be missing at the end; the zeros that stand for them are not read.
    short = max(0, (kmers.shape[1] - 1) * stride + k - values.shape[1])
    padded = torch.nn.functional.pad(values, (0, 0, 0, short))
    means = padded.unfold(1, k, stride).mean(-1)  # (rows, k-mers, size)
    index = (kmers.cumsum(1) - 1).clamp(min=0).unsqueeze(-1).expand(-1, -1, values.shape[-1])
    return means.gather(1, index).where(kmers.unsqueeze(-1), elsewhere)


def check_side_by_side(kmers: Tensor) -> None:
    """Check that the k-mers of each row are one sequence, so that the n-th k-mer token is the sequence's n-th k-mer.

    Args:
        kmers: bool (rows, tokens), True on k-mers.

    Raises:
        ValueError: if other tokens lie between the k-mers of a row.
    """
    begins = kmers.int().diff(dim=1, prepend=kmers.new_zeros(kmers.shape[0], 1).int()) == 1
    if not is_tracing(kmers) and (begins.sum(1) > 1).any():
        raise ValueError("other tokens lie between the k-mers of a row; give one sequence per row, not a pair")


def nt_reach(kmers: Tensor, k: int, stride: int) -> int:
    """Compute how many nt the longest sequence can have, from the k-mers of all sequences.

    Args:
        kmers: bool (rows, tokens), True on k-mers.
        k: k-mer size in nt.
        stride: nt between the starts of neighbouring k-mers.

    Returns:
        The number of nt, including those after the last k-mer that are too few for another one; 0 if no row has a
        k-mer.
    """
    longest = int(kmers.sum(1).max())
    return longest * stride + k - 1 if longest else 0


def check_nt_labels(labelled: Tensor, kmers: Tensor, k: int, stride: int) -> None:
    """Check that labels per nucleotide fit the tokens of their sequences.

    Args:
        labelled: bool (rows, nt), True on nucleotides with a label.
        kmers: bool (rows, tokens), as in `tokens_to_nt`.
        k: k-mer size in nt.
        stride: nt between the starts of neighbouring k-mers.

    Raises:
        ValueError: if labels are not one row per sequence, or a label lies beyond the nucleotides of the tokens.
    """
    if labelled.ndim != 2 or len(labelled) != len(kmers):
        raise ValueError(f"labels must be ({len(kmers)} sequences, nt), not {tuple(labelled.shape)}")
    if is_tracing(labelled):
        return
    count = kmers.sum(1)
    reach = (count * stride + k - 1) * (count > 0)  # (rows,)
    # Up to the last nucleotide with a label, (rows,).
    ends = (labelled * torch.arange(1, labelled.shape[1] + 1, device=labelled.device)).amax(1)
    far = (ends > reach).nonzero()
    if len(far):
        row = int(far[0])
        raise ValueError(
            f"row {row}: nucleotide {int(ends[row])} has a label, but {int(count[row])} {k}-mers at stride {stride} "
            f"reach {int(reach[row])} nt at most; give labels per nucleotide of the same sequence, -100 beyond its end"
        )
