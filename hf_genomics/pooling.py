"""From tokens to sequences and to nucleotides, and back: pure functions that see no padding and no neighbour.

A row holds one sequence, padded on either side, or several packed sequences whose positions start again.
"""

import torch
from torch import Tensor


def unpack(columns: list[Tensor], attention_mask: Tensor | None, position_ids: Tensor | None) -> list[Tensor]:
    """Give every packed sequence a row of its own; rows that hold one sequence stay as they are.

    A sequence starts at the first token of a row and wherever positions do not go on by one. An exported program takes
    one sequence a row: its number of rows cannot depend on positions.

    Args:
        columns: (rows, tokens, ...) each.
        attention_mask: (rows, tokens), 0 on padding; None for no padding.
        position_ids: (rows, tokens) or (1, tokens); None says that rows are not packed.

    Returns:
        the columns, (sequences, longest, ...), 0 on padding, in reading order; last, what is no padding, bool.
    """
    columns = [*columns, _real(columns[0], attention_mask)]
    return columns if position_ids is None else _unpack(columns, position_ids)


@torch.compiler.disable(reason="how many sequences there are stands in position_ids, which no graph knows")
def _unpack(columns: list[Tensor], position_ids: Tensor) -> list[Tensor]:
    """Do what `unpack` does; the last column tells what is no padding."""
    real = columns[-1]
    # Asked here, outside of every graph: the compiler of torch 2.11 takes it for true when nothing is exported.
    starts = None if torch.compiler.is_exporting() else _packed_starts(real, position_ids)
    if starts is None:
        return columns
    number = starts.flatten().cumsum(0) - 1  # of the sequence each token belongs to
    place = torch.arange(number.numel(), device=real.device)
    place = place - place[starts.flatten()][number.clamp(min=0)]  # tokens since its start
    rows, places = number[real.flatten()], place[real.flatten()]
    size = (int(rows.max()) + 1, int(places.max()) + 1)
    unpacked = []
    for column in columns:
        spread = column.new_zeros(*size, *column.shape[2:])
        spread[rows, places] = column.flatten(0, 1)[real.flatten()]
        unpacked.append(spread)
    return unpacked


def first_tokens(hidden: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None) -> Tensor:
    """Mark the first token of every sequence, in the order in which `unpack` gives them: what "cls" pools.

    Args:
        hidden: (rows, tokens, ...).
        attention_mask, position_ids: as in `unpack`.

    Returns:
        bool (rows, tokens).
    """
    real = _real(hidden, attention_mask)
    starts = _packed_starts(real, position_ids)
    return torch.zeros_like(real).scatter(1, _first(real)[:, None], True) if starts is None else starts


def _real(column: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Tell what is no padding; bool (rows, tokens)."""
    if attention_mask is not None and attention_mask.ndim == 2:
        return attention_mask.bool()
    return torch.ones(column.shape[:2], dtype=torch.bool, device=column.device)


def _packed_starts(real: Tensor, position_ids: Tensor | None) -> Tensor | None:
    """Mark where sequences start, bool (rows, tokens); None where no row holds more than one."""
    if position_ids is None:
        return None
    goes_on = torch.zeros_like(real)
    goes_on[:, 1:] = (position_ids.diff(dim=1) == 1) & real[:, :-1]
    starts = real & ~goes_on
    return None if (starts.sum(1) <= 1).all() else starts


def _first(real: Tensor) -> Tensor:
    return real.int().argmax(1)  # 0, except where a row is padded on the left


def pool(hidden: Tensor, real: Tensor, how: str, scores: Tensor | None = None) -> Tensor:
    """Make one vector of the tokens of each sequence, [CLS] and [SEP] among them; padding is never looked at.

    Args:
        hidden: (rows, tokens, hidden).
        real: bool (rows, tokens), False on padding.
        how: "cls" (the first token), "mean", "max" or "attention" (mean weighted by softmax of ``scores``).
        scores: (rows, tokens), for "attention".

    Returns:
        (rows, hidden); 0 for a row of nothing but padding (except for "cls").
    """
    if how == "cls":
        # len() would fix the number of rows in an export
        return hidden[torch.arange(hidden.shape[0], device=hidden.device), _first(real)]
    padding = ~real.unsqueeze(-1)
    if how == "max":
        lowest = hidden.masked_fill(padding, torch.finfo(hidden.dtype).min).amax(1)
        return lowest.masked_fill(padding.all(1), 0)
    weights = real.to(hidden.dtype)
    if how == "attention" and scores is not None:
        weights = scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(1) * weights
    total = weights.sum(1, keepdim=True)
    weights = weights / total.where(total > 0, 1)
    return (weights.unsqueeze(1) @ hidden.masked_fill(padding, 0)).squeeze(1)


def tokens_to_nt(tokens: Tensor, kmers: Tensor, k: int, stride: int, length: int | None = None) -> Tensor:
    """Spread what each k-mer says over its nucleotides: the mean of the k-mers that cover a nucleotide.

    A nucleotide that none covers (the last ``(sequence length - k) % stride`` nt; gaps where stride > k) gets what the
    k-mer before it says.

    Args:
        tokens: (rows, tokens, size).
        kmers: bool (rows, tokens), True on k-mers: neither padding nor [CLS] nor [SEP]; in a row side by side.
        k, stride: of the tokenizer, in nt.
        length: nt to return; by default as many as the longest sequence of so many tokens can have.

    Returns:
        (rows, length, size). Nucleotides beyond a row's own sequence say what its last k-mer says and mean nothing; a
        row without a k-mer is 0.

    Raises:
        ValueError: if the k-mers of a row do not stand side by side.

    Source: DNABERT (Ji et al. 2021) spreads attention over nucleotides in this way.
    """
    check_side_by_side(kmers)
    counts = kmers.sum(1, keepdim=True)  # (rows, 1)
    if length is None:
        length = kmers.shape[1] * stride + k - 1 if torch.compiler.is_compiling() else nt_reach(kmers, k, stride)
    place = torch.arange(length, device=tokens.device)
    last = (place // stride).clamp(max=counts - 1)  # (rows, length): the last k-mer that starts at or before it
    covering = torch.minimum(last, (place - k + stride).div(stride, rounding_mode="floor").clamp(min=0))  # the first
    begin = kmers.int().argmax(1, keepdim=True)
    total = tokens.new_zeros(*last.shape, tokens.shape[-1])
    for back in range(-(-k // stride)):  # no more k-mers than that cover a nucleotide
        there = (last - back >= covering).unsqueeze(-1)
        index = (begin + last - back).clamp(min=0).unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
        total = total + tokens.gather(1, index).where(there & (counts > 0).unsqueeze(-1), 0)
    return total / (last - covering + 1).unsqueeze(-1)


def nt_to_tokens(values: Tensor, kmers: Tensor, k: int, stride: int, elsewhere: Tensor) -> Tensor:
    """Give each k-mer the mean of its nucleotides.

    Args:
        values: (rows, nt, size), at least as far as the k-mers reach.
        kmers, k, stride: as in `tokens_to_nt`.
        elsewhere: (size,), for tokens that are no k-mers.

    Returns:
        (rows, tokens, size).

    Raises:
        ValueError: if the k-mers reach farther than the values, or those of a row do not stand side by side.
    """
    check_side_by_side(kmers)
    if not torch.compiler.is_compiling() and (most := int(kmers.sum(1).max())):
        reach = (most - 1) * stride + k
        if values.shape[1] < reach:
            raise ValueError(f"values for {values.shape[1]} nt, but the tokens show {reach}; give one per nucleotide")
    short = max(0, (kmers.shape[1] - 1) * stride + k - values.shape[1])
    padded = torch.nn.functional.pad(values, (0, 0, 0, short))
    means = padded.unfold(1, k, stride).mean(-1)  # (rows, k-mers, size)
    index = (kmers.cumsum(1) - 1).clamp(min=0).unsqueeze(-1).expand(-1, -1, values.shape[-1])
    return means.gather(1, index).where(kmers.unsqueeze(-1), elsewhere)


def check_side_by_side(kmers: Tensor) -> None:
    """Check that each row of k-mers, bool (rows, tokens), is one sequence, so that places on it can be counted.

    Raises:
        ValueError: if k-mers of a row are kept apart by other tokens.
    """
    begins = kmers.int().diff(dim=1, prepend=kmers.new_zeros(kmers.shape[0], 1).int()) == 1
    if not torch.compiler.is_compiling() and (begins.sum(1) > 1).any():
        raise ValueError("the k-mers of a row do not stand side by side; give one sequence a row, not a pair")


def nt_reach(kmers: Tensor, k: int, stride: int) -> int:
    """Count the nt that the longest sequence of so many k-mers can have; ``kmers`` is bool (rows, tokens)."""
    longest = int(kmers.sum(1).max())
    return longest * stride + k - 1 if longest else 0


def check_nt_labels(labelled: Tensor, kmers: Tensor, k: int, stride: int) -> None:
    """Check that labels given per nucleotide belong to these tokens.

    Args:
        labelled: bool (rows, nt).
        kmers, k, stride: as in `tokens_to_nt`.

    Raises:
        ValueError: if there is not a row of labels per sequence, or a label stands where the tokens cannot reach.
    """
    if labelled.ndim != 2 or len(labelled) != len(kmers):
        raise ValueError(f"labels must be ({len(kmers)} sequences, nt), not {tuple(labelled.shape)}")
    if torch.compiler.is_compiling():
        return
    count = kmers.sum(1)
    reach = (count * stride + k - 1) * (count > 0)  # (rows,)
    ends = (labelled * torch.arange(1, labelled.shape[1] + 1, device=labelled.device)).amax(1)
    far = (ends > reach).nonzero()
    if len(far):
        row = int(far[0])
        raise ValueError(
            f"row {row}: nucleotide {int(ends[row])} has a label, but {int(count[row])} {k}-mers at stride {stride} "
            f"reach {int(reach[row])} nt at most; give labels per nucleotide of the same sequence, -100 beyond its end"
        )
