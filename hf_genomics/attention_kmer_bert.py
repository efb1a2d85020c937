"""Who attends to whom: all tokens of a row, those of the same packed window, near tokens; the same on every backend.

A layout is drawn up once in each forward pass and handed to every layer, which attends through it. Where windows are
packed or a layer sees near tokens only, most of a (tokens, tokens) mask would say no, and three layouts do without:
`Packed` attends to each window by itself, `Grouped` to windows of like length at once, `Blocked` to near tokens block
by block. `Masked` says everything by masks;
it serves the rest (flex, exporting, attention weights wanted) and is what the others are tested against.
"""

from collections.abc import Callable
from contextlib import suppress
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedConfig
from transformers.masking_utils import (
    and_masks,
    create_bidirectional_mask,
    find_packed_sequence_indices,
    packed_sequence_mask_function,
    sliding_window_bidirectional_overlay,
)
from transformers.utils.generic import is_flash_attention_requested
from transformers.utils.import_utils import is_tracing

varlen_attn: Any = None
with suppress(ImportError):  # torch before 2.10 has none, and before 2.11 none for near tokens
    from torch.nn.attention.varlen import varlen_attn

# What a backend of transformers does once module, scaling and dropout are set: query, key and value (batch, heads,
# tokens, size) and a mask or None give (batch, tokens, heads, size) and, from eager, the weights.
Attend = Callable[..., tuple[Tensor, Tensor | None]]


class Masked(NamedTuple):
    """Masks say who sees whom, in the form that the backend takes; None hides nothing."""

    everywhere: Any
    nearby: Any

    def __call__(
        self, attend: Attend, query: Tensor, key: Tensor, value: Tensor, window: int | None, asked: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            attend: the backend.
            query, key, value: (batch, tokens, heads, size).
            window: how far a token sees, None without limit.
            asked: bool (batch, tokens) where not all tokens are asked for. ``query`` and what is returned are then
                (tokens asked for, heads, size), in reading order. Only where `narrows` says so.
        """
        mask = self.everywhere if window is None else self.nearby
        if asked is not None:
            return attend_from(attend, query, key.transpose(1, 2), value.transpose(1, 2), mask, asked), None
        return attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), mask)

    def narrows(self, window: int | None) -> bool:
        """Tell whether it can attend from some tokens only."""
        mask = self.everywhere if window is None else self.nearby
        return mask is None or isinstance(mask, Tensor) and mask.ndim == 4


class Blocked(NamedTuple):
    """Layers with a window go block by block; ``visible`` (batch, tokens) is False on padding, None without any."""

    visible: Tensor | None

    def __call__(
        self, attend: Attend, query: Tensor, key: Tensor, value: Tensor, window: int | None, asked: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Attend; see `Masked`."""
        if window is None:
            keys = None if self.visible is None else _hidden(~self.visible[:, None, None], query.dtype)
            return Masked(keys, None)(attend, query, key, value, None, asked)
        query, key, value = (states.transpose(1, 2) for states in (query, key, value))
        return attend_nearby(attend, query, key, value, window, self.visible), None

    def narrows(self, window: int | None) -> bool:
        """See `Masked`."""
        return window is None


class Packed(NamedTuple):
    """Rows hold several windows, row after row ``lengths`` tokens long; padding counts as a window of its own.

    Attributes:
        lengths: of the windows, adding up to batch x tokens.
        ends: (windows + 1,) int32, where they begin and end in the joined rows (cu_seq_lens).
        longest: of the lengths; a number of its own, so that a compiled layer need not look at them all.
        kernel: "loop" attends to one after the other, "varlen" is torch's kernel, "flash" a backend that knows packing.
    """

    lengths: list[int]
    ends: Tensor
    longest: int
    kernel: str

    def __call__(
        self, attend: Attend, query: Tensor, key: Tensor, value: Tensor, window: int | None, asked: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Attend; see `Masked`."""
        shape = query.shape
        query = query if asked is not None else query.flatten(0, 1)
        key, value = key.flatten(0, 1), value.flatten(0, 1)
        if self.kernel == "loop":
            asked = None if asked is None else asked.flatten()
            return attend_by_window(attend, query, key, value, self.lengths, window, asked).reshape(shape), None
        ends, longest = self.ends, self.longest
        if self.kernel == "varlen":
            near = {} if window is None else {"window_size": (window, window)}
            return varlen_attn(query, key, value, ends, ends, longest, longest, **near).reshape(shape), None
        packing = {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}
        query, key, value = (states.transpose(0, 1).unsqueeze(0) for states in (query, key, value))
        return attend(query, key, value, None, **packing)[0].reshape(shape), None

    def narrows(self, window: int | None) -> bool:
        """See `Masked`."""
        return self.kernel == "loop" and window is None


class Grouped(NamedTuple):
    """Rows hold several windows, attended to in batches of like length; only there are they padded.

    Attributes:
        places: (batch x tokens,), where each token lies when the batches' padded windows are joined end to end.
        shapes: windows of each batch, and tokens of the longest of them.
    """

    places: Tensor
    shapes: list[tuple[int, int]]

    def __call__(
        self, attend: Attend, query: Tensor, key: Tensor, value: Tensor, window: int | None, asked: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Attend; see `Masked`."""
        sizes = [count * longest for count, longest in self.shapes]
        visible = torch.zeros(sum(sizes), dtype=torch.bool, device=query.device).index_fill(0, self.places, True)
        spread = (self._spread(states, sum(sizes)).split(sizes) for states in (query, key, value))
        attended = []
        for (count, longest), real, *states in zip(self.shapes, visible.split(sizes), *spread, strict=True):
            q, k, v = (state.unflatten(0, (count, longest)).transpose(1, 2) for state in states)
            real = real.view(count, longest)
            if window is None or window >= longest - 1:
                seen = attend(q, k, v, _hidden(~real[:, None, None], query.dtype))[0]
            else:
                seen = attend_nearby(attend, q, k, v, window, real)
            attended.append(seen.flatten(0, 1))
        return torch.cat(attended).index_select(0, self.places).reshape(query.shape), None

    def narrows(self, window: int | None) -> bool:
        """See `Masked`."""
        return False

    def _spread(self, states: Tensor, size: int) -> Tensor:
        """Lay tokens (batch, tokens, heads, size of a head) among padding; (size, heads, size of a head)."""
        padded = states.new_zeros(size, *states.shape[2:])
        return padded.index_copy(0, self.places, states.flatten(0, 1))  # no place twice: exact backwards too


Layout = Masked | Blocked | Packed | Grouped


def attend_from(
    attend: Attend, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, asked: Tensor
) -> Tensor:
    """Attend from some tokens of each row to all of its tokens.

    Args:
        attend: with a mask or None.
        query: (tokens asked for, heads, size), row after row.
        key, value: (batch, heads, tokens, size).
        mask: (batch or 1, heads or 1, tokens or 1, tokens), for all tokens; None hides nothing.
        asked: bool (batch, tokens).

    Returns:
        (tokens asked for, heads, size).
    """
    # Queries are put side by side, row by row; rows with fewer than the most are filled up with zeros.
    row, place = asked.nonzero(as_tuple=True)
    rank = (asked.cumsum(1) - 1)[row, place]
    most = max(1, int(asked.sum(1).max()))  # some backends do not take none
    padded = query.new_zeros(len(asked), most, *query.shape[1:])
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
    window: int | None = None,
    asked: Tensor | None = None,
) -> Tensor:
    """Attend to each of the windows that lie end to end by itself; neighbours of equal length are taken at once.

    Args:
        attend: without a mask.
        query: (tokens, heads, size), or (tokens asked for, heads, size).
        key, value: (tokens, heads, size).
        lengths: of the windows, in tokens.
        window: how far a token sees, None without limit.
        asked: bool (tokens,), where not all are asked for; not with ``window``.

    Returns:
        the shape of ``query``.
    """
    runs = [(length, len(list(equal))) for length, equal in groupby(lengths)]
    sizes = [length * count for length, count in runs]
    parts = None if asked is None else asked.split(sizes)
    queries = query.split(sizes if parts is None else [int(part.sum()) for part in parts])
    attended = []
    for run, (q, *keys) in enumerate(zip(queries, key.split(sizes), value.split(sizes), strict=True)):
        length, count = runs[run]
        k, v = (state.unflatten(0, (count, length)).transpose(1, 2) for state in keys)  # (count, heads, length, size)
        if parts is not None:
            attended.append(attend_from(attend, q, k, v, None, parts[run].view(count, length)))
            continue
        q = q.unflatten(0, (count, length)).transpose(1, 2)
        if window is None or window >= length - 1:
            seen = attend(q, k, v, None)[0]
        else:
            seen = attend_nearby(attend, q, k, v, window)
        attended.append(seen.flatten(0, 1))
    return torch.cat(attended)


def attend_nearby(
    attend: Attend, query: Tensor, key: Tensor, value: Tensor, window: int, visible: Tensor | None = None
) -> Tensor:
    """Attend to the tokens at most ``window`` away; time and memory grow with tokens x window.

    Tokens are cut into blocks of ``window``; each block sees itself and its two neighbours, as far as they are near.

    Args:
        attend: with a mask that is added to the scores.
        query, key, value: (batch, heads, tokens, size).
        window: in tokens.
        visible: (batch, tokens), False on padding; None without any.

    Returns:
        (batch, tokens, heads, size).
    """
    batch, _, tokens, _ = query.shape
    filling = -tokens % window
    blocks = (tokens + filling) // window
    queries = pad(query, (0, 0, 0, filling)).unflatten(2, (blocks, window))  # (batch, heads, blocks, window, size)
    margins = (0, 0, window, window + filling)
    keys, values = (pad(x, margins).unfold(2, 3 * window, window).transpose(3, 4) for x in (key, value))
    rows = [x.transpose(1, 2).flatten(0, 1) for x in (queries, keys, values)]  # (batch x blocks, heads, ., size)
    attended = attend(*rows, _near_mask(query, window, blocks, visible))[0]
    return attended.unflatten(0, (batch, blocks)).flatten(1, 2)[:, :tokens]


def _near_mask(query: Tensor, window: int, blocks: int, visible: Tensor | None) -> Tensor:
    """Give (batch x blocks, 1, window, 3 x window): 0 for keys that are near, there and visible."""
    batch, _, tokens, _ = query.shape
    if visible is None:
        visible = torch.ones(batch, tokens, dtype=torch.bool, device=query.device)
    there = pad(visible, (window, window + blocks * window - tokens)).unfold(1, 3 * window, window)
    place = torch.arange(3 * window, device=query.device)
    near = (place - place[window : 2 * window, None]).abs() <= window  # (window, 3 x window)
    return _hidden(~(near & there.unsqueeze(2)).flatten(0, 1).unsqueeze(1), query.dtype)


def group_windows(lengths: list[int]) -> Grouped:
    """Put windows that lie end to end into batches: those longer than half the longest, then of the rest likewise.

    So there are few batches, and less than half of each is padding.

    >>> group_windows([2, 9, 5])
    Grouped(places=tensor([18, 19,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13]), shapes=[(2, 9), (1, 2)])
    """
    length = torch.tensor(lengths)
    begins, filled = torch.empty_like(length), 0  # where each window begins among the padded ones
    shapes = []
    todo = length > 0
    while todo.any():
        longest = int(length[todo].max())
        group = todo & (2 * length > longest)
        count = int(group.sum())
        begins[group] = filled + longest * torch.arange(count)
        shapes.append((count, longest))
        filled, todo = filled + count * longest, todo & ~group
    shift = begins - (length.cumsum(0) - length)
    return Grouped(torch.arange(int(length.sum())) + shift.repeat_interleave(length), shapes)


def window_lengths(positions: Tensor, attention_mask: Tensor | None) -> list[int] | None:
    """Measure the windows of packed rows, row after row; padding counts as a window of its own.

    >>> window_lengths(torch.tensor([[0, 1, 2, 0, 1, 0]]), torch.tensor([[1, 1, 1, 1, 1, 0]]))
    [3, 2, 1]

    Args:
        positions: (batch, tokens); where one does not follow the one before it, another window begins.
        attention_mask: (batch, tokens), 0 on padding; None without any.

    Returns:
        lengths that add up to batch x tokens; None if padding stands before or inside a window, so that a window is not
        one stretch of tokens.
    """
    begins = torch.ones_like(positions, dtype=torch.bool)
    begins[:, 1:] = positions.diff(dim=1) != 1
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
    """Draw up how the layers attend.

    Args:
        config: its attention backend and ``attention_window`` decide.
        hidden: (batch, tokens, hidden), the embedded tokens.
        attention_mask: (batch, tokens), 0 on padding; or, ready for the backend, (batch, 1, tokens, tokens), which then
            holds for every layer.
        position_ids: (batch or 1, tokens) as the caller gave them: where one does not follow the one before it,
            another window begins.
        dropout: of the attention weights.
        need_weights: attention weights will be returned, so they are computed for whole rows.

    Raises:
        ValueError: for padding inside packed windows with a flash backend.
    """
    if attention_mask is not None and attention_mask.ndim == 4:
        return Masked(attention_mask, attention_mask)
    window, shape = config.attention_window, hidden.shape[:2]
    local = window is not None and (is_tracing(hidden) or window < shape[1] - 1)  # no graph for short rows alone
    positions = None if position_ids is None else position_ids.expand(shape)
    packed = None if positions is None else find_packed_sequence_indices(positions)
    flash = is_flash_attention_requested(config)  # takes no mask over pairs of tokens, so it has no other way
    direct = flash or not need_weights and not is_tracing(hidden)
    kernel = _window_kernel(config, hidden, dropout) if direct else None
    if kernel and packed is not None or local and kernel == "varlen":
        positions = torch.arange(shape[1], device=hidden.device).expand(shape) if positions is None else positions
        if lengths := window_lengths(positions, attention_mask):
            if kernel == "groups":
                grouped = group_windows(lengths)
                return grouped._replace(places=grouped.places.to(hidden.device))
            ends = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
            return Packed(lengths, ends.to(hidden.device), max(lengths), kernel)
        if flash:
            raise ValueError(
                f"{config._attn_implementation} cannot hide tokens inside a packed window; put padding at the end of "
                "windows, or use sdpa"
            )
    if direct and local and packed is None and config._attn_implementation in _TAKE_ANY_MASK:
        visible = None if attention_mask is None or attention_mask.all() else attention_mask.bool()
        return Blocked(visible)
    rules = [] if packed is None else [packed_sequence_mask_function(packed)]
    everywhere = _mask(config, hidden, attention_mask, rules)
    if not local:
        return Masked(everywhere, everywhere)
    rules.append(sliding_window_bidirectional_overlay(window))
    return Masked(everywhere, _mask(config, hidden, attention_mask, rules))


# The backends that take a mask which is added to the scores, of any shape that broadcasts.
_TAKE_ANY_MASK = ("eager", "sdpa")


def _window_kernel(config: PreTrainedConfig, hidden: Tensor, dropout: float) -> str | None:
    """Name what attends to packed windows by themselves (see `Packed`; "groups": `Grouped`); None: masks must do."""
    device = hidden.device.type
    if is_flash_attention_requested(config):
        return "flash"
    if config._attn_implementation not in _TAKE_ANY_MASK:
        return None
    if device == "cpu":
        return "loop"
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    half = dtype in (torch.bfloat16, torch.float16)
    head = config.hidden_size // config.num_attention_heads
    fits = half and not dropout and head % 8 == 0 and head <= 256
    if fits and varlen_attn is not None and device == "cuda" and config._attn_implementation == "sdpa":
        return "varlen" if torch.cuda.get_device_capability(hidden.device) >= (8, 0) else "groups"
    return "groups"


def _mask(config: PreTrainedConfig, hidden: Tensor, attention_mask: Tensor | None, rules: list[Callable]) -> Any:
    """Have transformers build the backend's mask: padding, and every rule (batch, head, query, key) -> bool."""
    if attention_mask is None and not rules and config._attn_implementation in _TAKE_ANY_MASK:
        return None  # transformers 5.17 builds one in a compiled model; sdpa's fastest kernels take none
    rule = and_masks(*rules) if rules else None
    return create_bidirectional_mask(
        config=config, inputs_embeds=hidden, attention_mask=attention_mask, and_mask_function=rule
    )


def _hidden(keys: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn bool (..., keys), True where one is hidden, into what scores have added: the lowest number, or 0."""
    return torch.zeros(keys.shape, dtype=dtype, device=keys.device).masked_fill(keys, torch.finfo(dtype).min)
