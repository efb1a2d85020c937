"""Attention layouts: which tokens attend to which, the same on every backend.

A row holds one window of DNA, or several packed windows, whose tokens must not see each other. In a layer, a token sees
all tokens of its window, or only those within the *reach* of the layer, a number of tokens to each side. A layout is
chosen once in each forward pass and handed to every layer, which attends through it:

- `Masked` hides tokens by masks. It serves every case, and the other layouts are tested against it.
- `Packed` attends to each packed window separately, `Grouped` to packed windows of similar length in one batch, and
  `Blocked` to near tokens block by block. These three skip the pairs of tokens that a mask would hide.

A last layer whose output is read for some tokens only, such as [CLS] or the masked tokens, computes only these
(``selected``), if the layout can.
"""

from collections.abc import Callable
from contextlib import suppress
from inspect import signature
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedConfig
from transformers.masking_utils import create_bidirectional_mask, create_bidirectional_sliding_window_mask

from .compat import attention_name, is_flash_attention_requested, is_tracing
from .pooling import packed_starts

# torch's variable-length kernel; None if torch is too old for it (a saved model may be loaded by any torch).
varlen_attn: Any = None
with suppress(ImportError):  # missing before torch 2.10
    from torch.nn.attention.varlen import varlen_attn

    if "window_size" not in signature(varlen_attn).parameters:  # in torch 2.10
        varlen_attn = None

# The function of an attention backend of transformers, with module, scaling and dropout filled in already. It takes
# query, key and value, (batch, heads, tokens, size) each, and a mask or None. It returns the attended values (batch,
# tokens, heads, size) and the attention weights, which are None except for the backend "eager".
Attend = Callable[..., tuple[Tensor, Tensor | None]]


class Masked(NamedTuple):
    """Attention to whole rows, with masks in the form that the backend takes; a mask of None hides nothing.

    Attributes:
        everywhere: mask of the layers whose tokens see all tokens.
        nearby: mask of the layers whose tokens see near tokens only.
    """

    everywhere: Any
    nearby: Any

    def __call__(
        self,
        attend: Attend,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        reach: int | None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend in one layer.

        Args:
            attend: the backend.
            query: (batch, tokens, heads, size); with ``selected``, (selected tokens, heads, size), row by row.
            key: (batch, tokens, heads, size).
            value: (batch, tokens, heads, size).
            reach: tokens to each side that a token sees; None for all tokens.
            selected: bool (batch, tokens), the tokens whose output is computed; None computes all. Only for a layout
                that `supports_selection`.

        Returns:
            The attended values, in the shape of ``query``, and the attention weights if the backend returns them, or
            else None.
        """
        mask = self.everywhere if reach is None else self.nearby
        if selected is not None:
            return attend_from(attend, query, key.transpose(1, 2), value.transpose(1, 2), mask, selected), None
        return attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), mask)

    def supports_selection(self, reach: int | None) -> bool:
        """Check whether a layer with this reach can compute the output of some tokens only."""
        mask = self.everywhere if reach is None else self.nearby
        # Other masks (the block masks of flex, the 2-D masks of flash) cannot be indexed by query.
        return mask is None or (isinstance(mask, Tensor) and mask.ndim == 4)


class Blocked(NamedTuple):
    """Attention to near tokens, block by block; the layers whose tokens see all tokens get a mask of the padding.

    Attributes:
        real: bool (batch, tokens), False on padding; None for no padding.
    """

    real: Tensor | None

    def __call__(
        self,
        attend: Attend,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        reach: int | None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend; see `Masked`."""
        if reach is None:
            mask = None if self.real is None else _additive_mask(~self.real[:, None, None], query.dtype)
            return Masked(mask, None)(attend, query, key, value, None, selected)
        query, key, value = (states.transpose(1, 2) for states in (query, key, value))
        return attend_nearby(attend, query, key, value, reach, self.real), None

    def supports_selection(self, reach: int | None) -> bool:
        """Check whether a layer with this reach can compute the output of some tokens only."""
        return reach is None


class Packed(NamedTuple):
    """Attention to each packed window separately; a stretch of padding counts as a window.

    Attributes:
        lengths: tokens of each window, row after row; they add up to batch x tokens.
        boundaries: (windows + 1,) int32, where windows begin and end in the joined rows (transformers'
            ``cu_seq_lens``).
        longest: the largest of the lengths; stored, so that a compiled layer need not look at all lengths.
        kernel: how windows are attended to: "loop" takes one window after another, "varlen" is torch's variable-length
            kernel, "flash" is a flash backend, which supports packing.
    """

    lengths: list[int]
    boundaries: Tensor
    longest: int
    kernel: str

    def __call__(
        self,
        attend: Attend,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        reach: int | None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend; see `Masked`."""
        shape = query.shape
        query = query if selected is not None else query.flatten(0, 1)
        key, value = key.flatten(0, 1), value.flatten(0, 1)
        if self.kernel == "loop":
            selected = None if selected is None else selected.flatten()
            return attend_by_window(attend, query, key, value, self.lengths, reach, selected).reshape(shape), None
        bounds, longest = self.boundaries, self.longest
        if self.kernel == "varlen":
            near = {} if reach is None else {"window_size": (reach, reach)}
            return varlen_attn(query, key, value, bounds, bounds, longest, longest, **near).reshape(shape), None
        packing = {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest}
        # One row of all tokens, (1, heads, tokens, size), as transformers' flash backends take it.
        query, key, value = (states.transpose(0, 1).unsqueeze(0) for states in (query, key, value))
        return attend(query, key, value, None, **packing)[0].reshape(shape), None

    def supports_selection(self, reach: int | None) -> bool:
        """Check whether a layer with this reach can compute the output of some tokens only."""
        return self.kernel == "loop" and reach is None


class Grouped(NamedTuple):
    """Attention to batches of packed windows of similar length, which are padded inside this layout only.

    Attributes:
        places: (batch x tokens,), where each token lies when the padded windows of all batches are joined end to end.
        shapes: for each batch, its number of windows and the tokens of its longest window.
    """

    places: Tensor
    shapes: list[tuple[int, int]]

    def __call__(
        self,
        attend: Attend,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        reach: int | None,
        selected: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend; see `Masked`."""
        sizes = [count * longest for count, longest in self.shapes]
        real = torch.zeros(sum(sizes), dtype=torch.bool, device=query.device).index_fill(0, self.places, True)
        padded = (self._pad(states, sum(sizes)).split(sizes) for states in (query, key, value))
        attended = []
        for (count, longest), is_real, *states in zip(self.shapes, real.split(sizes), *padded, strict=True):
            q, k, v = (state.unflatten(0, (count, longest)).transpose(1, 2) for state in states)
            is_real = is_real.view(count, longest)
            if reach is None or reach >= longest - 1:  # every token of the batch sees its whole window
                batch = attend(q, k, v, _additive_mask(~is_real[:, None, None], query.dtype))[0]
            else:
                batch = attend_nearby(attend, q, k, v, reach, is_real)
            attended.append(batch.flatten(0, 1))
        return torch.cat(attended).index_select(0, self.places).reshape(query.shape), None

    def supports_selection(self, reach: int | None) -> bool:
        """Check whether a layer with this reach can compute the output of some tokens only."""
        return False

    def _pad(self, states: Tensor, size: int) -> Tensor:
        """Copy tokens (batch, tokens, heads, head size) to their places among padding, (size, heads, head size)."""
        padded = states.new_zeros(size, *states.shape[2:])
        # No place occurs twice, so the result of the backward pass does not depend on an order of additions.
        return padded.index_copy(0, self.places, states.flatten(0, 1))


Layout = Masked | Blocked | Packed | Grouped


def attend_from(
    attend: Attend, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, selected: Tensor
) -> Tensor:
    """Attend from the selected tokens of each row to all of its tokens.

    Args:
        attend: the backend, with a mask or None.
        query: (selected tokens, heads, size), row by row.
        key: (batch, heads, tokens, size).
        value: (batch, heads, tokens, size).
        mask: (batch or 1, heads or 1, tokens or 1, tokens), for the queries of all tokens; None hides nothing.
        selected: bool (batch, tokens), True on the selected tokens.

    Returns:
        (selected tokens, heads, size).
    """
    # The queries of each row move to its left end, and the rest of the row is filled up with zeros:
    #
    #     selected    . x . . x        place    1 4        queries    1 4
    #                 x . . . .                 0                     0 .
    row, place = selected.nonzero(as_tuple=True)
    rank = (selected.cumsum(1) - 1)[row, place]
    most = max(1, int(selected.sum(1).max()))  # at least 1: some backends fail without any query
    padded = query.new_zeros(len(selected), most, *query.shape[1:])
    if mask is not None and mask.shape[2] > 1:
        places = rank.new_zeros(padded.shape[:2]).index_put((row, rank), place)
        mask = mask.take_along_dim(places[:, None, :, None], 2)
    padded = padded.index_put((row, rank), query)
    return attend(padded.transpose(1, 2), key, value, mask)[0][row, rank]


def attend_by_window(
    attend: Attend,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: list[int],
    reach: int | None = None,
    selected: Tensor | None = None,
) -> Tensor:
    """Attend to each of the windows that lie end to end; consecutive windows of equal length are computed in one call.

    Args:
        attend: the backend, without a mask.
        query: (tokens, heads, size), or (selected tokens, heads, size).
        key: (tokens, heads, size).
        value: (tokens, heads, size).
        lengths: tokens of each window.
        reach: tokens to each side that a token sees; None for all tokens.
        selected: bool (tokens,), the tokens whose output is computed; None computes all. Not together with ``reach``.

    Returns:
        The attended values, in the shape of ``query``.
    """
    repeats = [(length, len(list(equal))) for length, equal in groupby(lengths)]  # [5, 5, 3] -> [(5, 2), (3, 1)]
    sizes = [length * count for length, count in repeats]
    choices = None if selected is None else selected.split(sizes)
    queries = query.split(sizes if choices is None else [int(choice.sum()) for choice in choices])
    attended = []
    for index, (q, *states) in enumerate(zip(queries, key.split(sizes), value.split(sizes), strict=True)):
        length, count = repeats[index]
        k, v = (x.unflatten(0, (count, length)).transpose(1, 2) for x in states)  # (count, heads, length, size)
        if choices is not None:
            attended.append(attend_from(attend, q, k, v, None, choices[index].view(count, length)))
            continue
        q = q.unflatten(0, (count, length)).transpose(1, 2)
        if reach is None or reach >= length - 1:  # every token sees its whole window
            windows = attend(q, k, v, None)[0]
        else:
            windows = attend_nearby(attend, q, k, v, reach)
        attended.append(windows.flatten(0, 1))
    return torch.cat(attended)


def attend_nearby(
    attend: Attend, query: Tensor, key: Tensor, value: Tensor, reach: int, real: Tensor | None = None
) -> Tensor:
    """Attend to the tokens at most ``reach`` away; time and memory grow with tokens x reach.

    Args:
        attend: the backend, with a mask that is added to the scores.
        query: (batch, heads, tokens, size).
        key: (batch, heads, tokens, size).
        value: (batch, heads, tokens, size).
        reach: tokens to each side that a token sees.
        real: bool (batch, tokens), False on padding; None for no padding.

    Returns:
        (batch, tokens, heads, size).
    """
    # Tokens are cut into blocks of `reach`. A near token lies in the same block or in one of its two neighbours, so
    # each block of queries meets three blocks of keys, and a mask hides the keys that are too far away. With reach 2,
    # five tokens, and dots where zeros are filled in:
    #
    #     queries    [0 1]            [2 3]            [4 .]
    #     keys       [. . 0 1 2 3]    [0 1 2 3 4 .]    [2 3 4 . . .]
    batch, _, tokens, _ = query.shape
    filling = -tokens % reach
    blocks = (tokens + filling) // reach
    queries = pad(query, (0, 0, 0, filling)).unflatten(2, (blocks, reach))  # (batch, heads, blocks, reach, size)
    margins = (0, 0, reach, reach + filling)
    # `unfold` puts the tokens of a block last; transposed: (batch, heads, blocks, 3 x reach, size).
    keys, values = (pad(x, margins).unfold(2, 3 * reach, reach).transpose(3, 4) for x in (key, value))
    rows = [x.transpose(1, 2).flatten(0, 1) for x in (queries, keys, values)]  # (batch x blocks, heads, ., size)
    attended = attend(*rows, _near_mask(query, reach, blocks, real))[0]
    return attended.unflatten(0, (batch, blocks)).flatten(1, 2)[:, :tokens]


def _near_mask(query: Tensor, reach: int, blocks: int, real: Tensor | None) -> Tensor:
    """Build the mask of `attend_nearby`, (batch x blocks, 1, reach, 3 x reach), to be added to the scores."""
    batch, _, tokens, _ = query.shape
    if real is None:
        real = torch.ones(batch, tokens, dtype=torch.bool, device=query.device)
    real_keys = pad(real, (reach, reach + blocks * reach - tokens)).unfold(1, 3 * reach, reach)
    key = torch.arange(3 * reach, device=query.device)
    # Query i of a block is at the place of key reach + i of the three blocks.
    near = (key - key[reach : 2 * reach, None]).abs() <= reach  # (reach, 3 x reach)
    return _additive_mask(~(near & real_keys.unsqueeze(2)).flatten(0, 1).unsqueeze(1), query.dtype)


def group_windows(lengths: list[int]) -> Grouped:
    """Divide windows that lie end to end into batches of similar length.

    The first batch takes the windows longer than half of the longest window; the remaining windows are divided in the
    same way. So there are few batches, and less than half of each is padding.

    Args:
        lengths: tokens of each window.

    >>> group_windows([2, 9, 5])
    Grouped(places=tensor([18, 19,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13]), shapes=[(2, 9), (1, 2)])
    """
    # In the example:
    #
    #     window of         2 tokens    9 tokens    5 tokens
    #     begins, packed    0           2           11
    #     begins, padded    18          0           9           batches: 9 and 5 (padded to 9), then 2
    #
    # Every token moves as far as the start of its window does.
    length = torch.tensor(lengths)
    begins, filled = torch.empty_like(length), 0  # where each window begins among the padded windows
    shapes = []
    remaining = length > 0
    while remaining.any():
        longest = int(length[remaining].max())
        group = remaining & (2 * length > longest)
        count = int(group.sum())
        begins[group] = filled + longest * torch.arange(count)
        shapes.append((count, longest))
        filled, remaining = filled + count * longest, remaining & ~group
    shift = begins - (length.cumsum(0) - length)
    return Grouped(torch.arange(int(length.sum())) + shift.repeat_interleave(length), shapes)


def window_lengths(positions: Tensor, attention_mask: Tensor | None) -> list[int] | None:
    """Measure the windows of packed rows, row after row; a stretch of padding counts as a window.

    >>> window_lengths(torch.tensor([[0, 1, 2, 0, 1, 0]]), torch.tensor([[1, 1, 1, 1, 1, 0]]))
    [3, 2, 1]

    Args:
        positions: (batch, tokens); another window begins where a position is not the previous one plus 1.
        attention_mask: (batch, tokens), 0 on padding; None for no padding.

    Returns:
        The tokens of each window; together they are batch x tokens. None if padding lies before or inside a window,
        which then is not one stretch of tokens.
    """
    begins = packed_starts(positions)
    if attention_mask is not None:
        change = attention_mask.bool().int().diff(dim=1)
        if ((change == 1) & ~begins[:, 1:]).any():
            return None
        begins[:, 1:] |= change == -1
    starts = begins.flatten().nonzero().flatten()
    return starts.diff(append=starts.new_tensor([begins.numel()])).tolist()


def attention_layout(
    config: PreTrainedConfig,
    hidden: Tensor,
    attention_mask: Tensor | None,
    position_ids: Tensor | None,
    *,
    dropout: float = 0.0,
    need_weights: bool = False,
) -> Layout:
    """Choose how the layers attend, by the first of these cases that applies.

    =====================  =============================================================  ======================
    case                   when                                                           layout
    =====================  =============================================================  ======================
    the mask is ready      ``attention_mask`` has four dimensions                         `Masked`, by that mask
    window by window       rows are packed, and a kernel attends to each window           `Packed` or `Grouped`
                           separately; or layers see near tokens only, which torch's
                           variable-length kernel computes without a mask
    block by block         layers see near tokens only, and rows are not packed           `Blocked`
    by masks               everything else; also if attention weights are wanted, or a    `Masked`
                           graph is recorded (but flash backends take no such masks)
    =====================  =============================================================  ======================

    Args:
        config: configuration of the model; its attention backend, sizes of heads and ``sliding_window`` are read.
        hidden: (batch, tokens, hidden), the embedded tokens.
        attention_mask: (batch, tokens), 0 on padding; or, ready for the backend, (batch, 1, tokens, tokens), which then
            holds for every layer; None for no padding.
        position_ids: (batch or 1, tokens), the positions that the caller gave; another window begins where a position
            is not the previous one plus 1. None if rows are not packed.
        dropout: dropout probability of the attention weights.
        need_weights: attention weights will be returned, so they are computed for whole rows.

    Returns:
        The layout for all layers.

    Raises:
        ValueError: for padding inside packed windows with a flash backend.
    """
    if attention_mask is not None and attention_mask.ndim == 4:
        return Masked(attention_mask, attention_mask)
    positions = None if position_ids is None else position_ids.expand(hidden.shape[:2])
    packed = None if positions is None else _window_numbers(positions)
    reach = config.sliding_window
    # In a short row every token sees all others anyway. A recorded graph (torch.compile, export) may get longer rows.
    is_local = reach is not None and (is_tracing(hidden) or reach < hidden.shape[1] - 1)
    # Attention weights and recorded graphs need masks, but flash backends take none: they go on here in any case.
    if is_flash_attention_requested(config) or not (need_weights or is_tracing(hidden)):
        if layout := _by_window(config, hidden, attention_mask, positions, packed is not None, is_local, dropout):
            return layout
        if is_local and packed is None and attention_name(config) in _TAKE_ANY_MASK:
            return Blocked(None if attention_mask is None or attention_mask.all() else attention_mask.bool())
    return _by_masks(config, hidden, attention_mask, packed, is_local)


# The backends that take a mask which is added to the scores, of any shape that broadcasts.
_TAKE_ANY_MASK = ("eager", "sdpa")


def _window_numbers(positions: Tensor) -> Tensor | None:
    """Number the packed windows of each row, (batch, tokens); None if no row holds more than one."""
    starts = packed_starts(positions)
    # A recorded graph may get packed rows, even if the rows that it is recorded with are not packed.
    return starts.cumsum(1) if is_tracing(positions) or starts[:, 1:].any() else None


def _by_window(
    config: PreTrainedConfig,
    hidden: Tensor,
    attention_mask: Tensor | None,
    positions: Tensor | None,
    is_packed: bool,
    is_local: bool,
    dropout: float,
) -> Layout | None:
    """Build the layout that attends to each window separately.

    Returns:
        None if there are no windows to attend to, or masks are needed.
    """
    kernel = _window_kernel(config, hidden, dropout)
    if kernel is None or not (is_packed or (is_local and kernel == "varlen")):
        return None
    if positions is None:
        positions = torch.arange(hidden.shape[1], device=hidden.device).expand(hidden.shape[:2])
    if lengths := window_lengths(positions, attention_mask):
        if kernel == "groups":
            grouped = group_windows(lengths)
            return grouped._replace(places=grouped.places.to(hidden.device))
        boundaries = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
        return Packed(lengths, boundaries.to(hidden.device), max(lengths), kernel)
    if kernel == "flash":
        raise ValueError(
            f"{attention_name(config)} cannot hide tokens inside a packed window; put padding at the end of windows, "
            "or use sdpa"
        )
    return None


def _window_kernel(config: PreTrainedConfig, hidden: Tensor, dropout: float) -> str | None:
    """Choose what attends to each packed window separately.

    Returns:
        The ``kernel`` of a `Packed` layout, or "groups" for a `Grouped` layout, or None if only masks can do it.
    """
    device = hidden.device.type
    if is_flash_attention_requested(config):
        return "flash"
    if attention_name(config) not in _TAKE_ANY_MASK:
        return None
    if device == "cpu":
        return "loop"
    if device != "cuda" or attention_name(config) != "sdpa" or varlen_attn is None:
        return "groups"
    # torch's variable-length kernel takes half precision without dropout, and heads of at most 256 features, a multiple
    # of 8; it needs an NVIDIA GPU of the Ampere generation or newer.
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    size = config.hidden_size // config.num_attention_heads
    fits = dtype in (torch.bfloat16, torch.float16) and not dropout and size % 8 == 0 and size <= 256
    return "varlen" if fits and torch.cuda.get_device_capability(hidden.device) >= (8, 0) else "groups"


def _by_masks(
    config: PreTrainedConfig,
    hidden: Tensor,
    attention_mask: Tensor | None,
    packed: Tensor | None,
    is_local: bool,
) -> Masked:
    """Build the masks of a batch; ``packed``, (batch, tokens) or None, holds the number of each token's window."""

    def in_one_window(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return packed[batch, query] == packed[batch, key]  # type: ignore[index]

    inputs: dict[str, Any] = {"config": config, "inputs_embeds": hidden, "attention_mask": attention_mask}
    inputs["and_mask_function"] = None if packed is None else in_one_window
    hides_nothing = attention_mask is None and packed is None and attention_name(config) in _TAKE_ANY_MASK
    # None rather than a mask of zeros, as transformers 5.17 builds in a graph: sdpa's fastest kernels take no mask.
    everywhere = None if hides_nothing else create_bidirectional_mask(**inputs)
    return Masked(everywhere, create_bidirectional_sliding_window_mask(**inputs) if is_local else everywhere)


def _additive_mask(is_hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert a mask, True where a key is hidden, to numbers that are added to scores: the lowest of the type, or 0."""
    mask = torch.zeros(is_hidden.shape, dtype=dtype, device=is_hidden.device)
    return mask.masked_fill(is_hidden, torch.finfo(dtype).min)
