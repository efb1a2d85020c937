"""Layouts of attention: every route gives what a mask over whole rows gives, on every backend."""

from __future__ import annotations

import copy
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.nn.functional import scaled_dot_product_attention
from transformers import masking_utils
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import hf_genomics.attention_kmer_bert as routes
from hf_genomics import (
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerBertForTokenClassification,
    KmerBertModel,
)
from hf_genomics.attention_kmer_bert import (
    Blocked,
    Masked,
    Packed,
    attend_by_window,
    attend_from,
    attend_nearby,
    attention_layout,
    group_windows,
    window_lengths,
)
from hf_genomics.configuration_kmer_bert import default_layer_types

POSITIONS = ("absolute", "sinusoidal", "rotary")
WINDOWS = (None, 4)
LENGTHS = [5, 9, 9, 3, 20, 1]


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, None]:
    """Attend as a backend does."""
    return scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2), None


def seen_by(lengths: list[int], window: int | None) -> Tensor:
    """Say by a double loop who sees whom in windows that lie end to end; (tokens, tokens)."""
    tokens = [(number, place) for number, length in enumerate(lengths) for place in range(length)]
    limit = len(tokens) if window is None else window
    return torch.tensor([[a == b and abs(i - j) <= limit for b, j in tokens] for a, i in tokens])


def states(tokens: int, rows: int = 1) -> list[Tensor]:
    """Draw query, key and value, (rows, tokens, heads, size) each."""
    generator = torch.Generator().manual_seed(tokens)
    return list(torch.randn(3, rows, tokens, 2, 4, generator=generator))


def model_of(config: KmerBertConfig, backend: str, kind: type = KmerBertModel) -> torch.nn.Module:
    """Build a model whose weights, biases too, are far from their start; the same for every backend."""
    torch.manual_seed(0)
    model = kind._from_config(copy.deepcopy(config), attn_implementation=backend).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def packed_row(padding: int = 0) -> dict[str, Tensor]:
    """Draw windows of LENGTHS tokens and put them into one row."""
    generator = torch.Generator().manual_seed(5)
    tokens = sum(LENGTHS)
    filled = torch.zeros(1, padding, dtype=torch.long)
    row = {
        "input_ids": torch.randint(5, 69, (1, tokens), generator=generator),
        "position_ids": torch.cat([torch.arange(length) for length in LENGTHS])[None],
    }
    row = {name: torch.cat([column, filled], 1) for name, column in row.items()}
    return row | {"attention_mask": (torch.arange(tokens + padding) < tokens).long()[None]}


def one_by_one(row: dict[str, Tensor]) -> list[Tensor]:
    """Take the windows of LENGTHS out of a packed row, as rows of their own."""
    return list(row["input_ids"][:, : sum(LENGTHS)].split(LENGTHS, dim=1))


@pytest.fixture
def backend(request):
    """A backend; flex runs uncompiled, in the same arithmetic, because compiling takes a minute for each mask."""
    if request.param == "flex_attention":
        with torch.compiler.set_stance("force_eager"), torch.no_grad():  # flex has no backward on a CPU
            yield request.param
    else:
        yield request.param


# The routes, against masks.


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.sampled_from([None, 1, 2, 3, 8]))
def test_attending_window_by_window_equals_a_mask(lengths: list[int], window: int | None) -> None:
    query, key, value = states(sum(lengths))
    expected = attend(*(x.transpose(1, 2) for x in (query, key, value)), seen_by(lengths, window))[0][0]
    assert torch.allclose(attend_by_window(attend, query[0], key[0], value[0], lengths, window), expected, atol=1e-6)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.sampled_from([None, 1, 2, 3, 8]), st.booleans())
def test_attending_to_windows_of_like_length_at_once_equals_a_mask(lengths, window, two_rows) -> None:
    """Backwards too; a second row holds the same windows in the opposite order."""
    rows = [lengths, lengths[::-1]] if two_rows else [lengths]
    masks = torch.stack([seen_by(row, window) for row in rows])[:, None]
    query, key, value = (state.requires_grad_() for state in states(sum(lengths), len(rows)))
    expected = attend(*(x.transpose(1, 2) for x in (query, key, value)), masks)[0]
    grouped = group_windows(sum(rows, []))
    found = grouped(attend, query, key, value, window)[0]
    assert torch.allclose(found, expected, atol=1e-6)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    gradients = [torch.autograd.grad((each * weights).sum(), (query, key, value)) for each in (found, expected)]
    assert all(torch.allclose(*pair, atol=1e-5) for pair in zip(*gradients, strict=True))


@given(st.lists(st.integers(1, 600), min_size=1, max_size=40))
def test_groups_hold_every_window_once_and_are_mostly_windows(lengths: list[int]) -> None:
    places, shapes = group_windows(lengths)
    size = sum(count * longest for count, longest in shapes)
    assert len(places) == sum(lengths) == len(set(places.tolist())) and size < 2 * sum(lengths) + 1
    assert sum(count for count, _ in shapes) == len(lengths) and len(shapes) <= 10
    rows = [number for count, longest in shapes for number in range(count) for _ in range(longest)]
    for part in places.split(lengths):
        assert (part.diff() == 1).all() and len({rows[place] for place in (part[0], part[-1])}) == 1


@given(st.integers(1, 30), st.integers(1, 12), st.lists(st.integers(0, 30), min_size=2, max_size=2))
def test_attending_block_by_block_equals_a_mask(tokens: int, window: int, padding: list[int]) -> None:
    query, key, value = (x.transpose(1, 2) for x in states(tokens, rows=2))
    visible = torch.arange(tokens) < torch.tensor([max(1, tokens - hidden) for hidden in padding])[:, None]
    band = seen_by([tokens], window)[None, None] & visible[:, None, None]
    expected = attend(query, key, value, band)[0]
    found = attend_nearby(attend, query, key, value, window, visible)
    assert torch.allclose(found[visible], expected[visible], atol=1e-6) and not found.isnan().any()
    if visible.all():
        assert torch.equal(found, attend_nearby(attend, query, key, value, window))


CHOICES = st.lists(st.booleans(), min_size=12, max_size=12)


@given(st.integers(1, 3), CHOICES, st.sampled_from([None, "keys", "pairs"]))
def test_attending_from_some_tokens_equals_attending_from_all(rows: int, choice: list[bool], mask: str | None) -> None:
    query, key, value = states(12 // rows, rows)
    selected = torch.tensor(choice).view(rows, -1)
    shape = {"keys": (rows, 1, 1, 12 // rows), "pairs": (rows, 1, 12 // rows, 12 // rows)}
    scores = torch.randn(shape[mask]) if mask else None
    keys = (key.transpose(1, 2), value.transpose(1, 2))
    expected = attend(query.transpose(1, 2), *keys, scores)[0][selected]
    assert torch.allclose(attend_from(attend, query[selected], *keys, scores, selected), expected, atol=1e-6)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.integers(0, 2**32))
def test_attending_from_some_tokens_of_packed_windows_equals_attending_from_all(lengths: list[int], seed: int) -> None:
    query, key, value = (x[0] for x in states(sum(lengths)))
    selected = torch.rand(sum(lengths), generator=torch.Generator().manual_seed(seed)) < 0.4
    expected = attend_by_window(attend, query, key, value, lengths)[selected]
    found = attend_by_window(attend, query[selected], key, value, lengths, selected=selected)
    assert torch.allclose(found, expected, atol=1e-6)


def lengths_slowly(positions: list[list[int]], shown: list[list[int]]) -> list[int] | None:
    """Measure windows token by token."""
    found = []
    for places, visible in zip(positions, shown, strict=True):
        for index, (place, seen) in enumerate(zip(places, visible, strict=True)):
            follows = index and place == places[index - 1] + 1
            if follows and seen and not visible[index - 1]:
                return None
            if follows and seen == visible[index - 1]:
                found[-1] += 1
            else:
                found.append(1)
    return found


@given(st.integers(1, 9).flatmap(lambda n: st.lists(st.tuples(*[st.tuples(st.integers(0, 2), st.booleans())] * n))))
def test_window_lengths_equal_a_loop(rows: list[tuple]) -> None:
    if not rows:
        return
    positions, shown = [], []
    for row in rows:
        places = [0]
        for start, _ in row[1:]:
            places.append(places[-1] + 1 if start else 0)
        positions.append(places)
        shown.append([int(seen) for _, seen in row])
    expected = lengths_slowly(positions, shown)
    assert window_lengths(torch.tensor(positions), torch.tensor(shown)) == expected
    everything = lengths_slowly(positions, [[1] * len(row) for row in rows])
    assert window_lengths(torch.tensor(positions), None) == everything and sum(everything) == sum(map(len, rows))


# Whole models.


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("backend", ["eager", "sdpa", "flex_attention"], indirect=True)
def test_packed_windows_give_what_each_gives_alone(
    backend: str, positions: str, window: int | None, tiny_config
) -> None:
    tiny_config.position_embedding_type, tiny_config.sliding_window = positions, window
    model, row = model_of(tiny_config, backend), packed_row(padding=3)
    reference = model_of(tiny_config, "sdpa")
    alone = torch.cat([reference(ids).last_hidden_state[0] for ids in one_by_one(row)])
    for call in (row, {**row, "attention_mask": None}, {**row, "output_attentions": True}):
        packed = model(**call).last_hidden_state[0]
        assert (packed[: len(alone)] - alone).abs().max() < 1e-5
        assert not packed.isnan().any()


@pytest.mark.parametrize("rows", ["padded", "packed", "full", "packed, padding first"])
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_selected_tokens_have_the_states_and_gradients_they_have_among_all(
    backend: str, positions: str, window: int | None, rows: str, tiny_config
) -> None:
    tiny_config.position_embedding_type, tiny_config.sliding_window = positions, window
    row = packed_row(padding=3)
    if "packed" not in rows:
        row.pop("position_ids")
    if rows == "full":
        row.pop("attention_mask")
    if rows == "packed, padding first":
        row["attention_mask"] = row["attention_mask"].flip(1)
    selected = (torch.arange(row["input_ids"].shape[1]) % 3 == 1)[None]
    some, whole = (model_of(tiny_config, backend, KmerBertForMaskedLM).bert.train() for _ in range(2))
    found = some(**row, selected=selected).last_hidden_state
    expected = whole(**row).last_hidden_state[selected]
    assert found.shape == (int(selected.sum()), tiny_config.hidden_size) and (found - expected).abs().max() < 1e-5
    for states in (found, expected):
        states.square().sum().backward()
    for (name, weight), other in zip(some.named_parameters(), whole.parameters(), strict=True):
        scale = other.grad.abs().max().clamp(min=1)
        assert (weight.grad - other.grad).abs().max() < 1e-5 * scale, name


def test_the_last_layer_computes_the_selected_tokens_alone(tiny_config: KmerBertConfig) -> None:
    model, row = model_of(tiny_config, "sdpa", KmerBertForMaskedLM), packed_row()
    labels = row["input_ids"].where(torch.arange(row["input_ids"].shape[1]) % 5 == 1, -100)
    seen = []
    for layer in model.bert.encoder.layer:
        layer.intermediate.register_forward_hook(lambda _, args, output: seen.append(output.shape[:-1].numel()))
    tokens = row["input_ids"].numel()
    model(**row, labels=labels, sparse_prediction=True)
    assert seen == [tokens, int((labels != -100).sum())]
    states = model(**row, labels=labels, sparse_prediction=True, output_hidden_states=True).hidden_states
    assert seen[2:] == [tokens, tokens] and states[-1].shape[1] == tokens, "all of them where they are recorded"


@pytest.mark.parametrize("rows", ["packed", "padded", "full"])
@pytest.mark.parametrize("window", [None, 4])
def test_the_last_layer_computes_the_tokens_that_a_classifier_reads_alone(
    window: int | None, rows: str, tiny_config: KmerBertConfig
) -> None:
    tiny_config.sliding_window = window
    row = packed_row(padding=3)
    sequences = len(LENGTHS) if rows == "packed" else 1
    for name in {"padded": ["position_ids"], "full": ["position_ids", "attention_mask"]}.get(rows, []):
        row.pop(name)
    some, whole = (model_of(tiny_config, "sdpa", KmerBertForSequenceClassification).train() for _ in range(2))
    seen = []
    last = some.bert.encoder.layer[-1].intermediate
    last.register_forward_hook(lambda _, args, output: seen.append(output.shape[:-1].numel()))
    found, expected = some(**row).logits, whole(**row, output_hidden_states=True).logits
    assert seen == [sequences if window is None else row["input_ids"].numel()]
    assert found.shape == expected.shape == (sequences, 2) and (found - expected).abs().max() < 1e-5
    for logits in (found, expected):
        logits.square().sum().backward()
    for (name, weight), other in zip(some.named_parameters(), whole.parameters(), strict=True):
        assert (weight.grad - other.grad).abs().max() < 1e-5 * other.grad.abs().max().clamp(min=1), name


@pytest.mark.parametrize("kind", [KmerBertForMaskedLM, KmerBertForTokenClassification])
@pytest.mark.parametrize("route", ["loop", "groups", "masks"])
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_packed_windows_have_the_logits_and_gradients_of_separate_rows(
    backend, route, kind, tiny_config, monkeypatch
) -> None:
    if route == "groups":  # a CPU takes the loop
        monkeypatch.setattr(routes, "_window_kernel", lambda *_: "groups")
    tiny_config.sliding_window, row = 4, packed_row(padding=2)
    labels = torch.where(torch.rand(row["input_ids"].shape) < 0.5, row["input_ids"] % 2, -100) * row["attention_mask"]
    labels = labels.where(row["attention_mask"] == 1, -100)
    items = (labels != -100).sum()
    packed, alone = (model_of(tiny_config, backend, kind).train() for _ in range(2))
    outputs = packed(**row, labels=labels, num_items_in_batch=items, output_attentions=route == "masks")
    outputs.loss.backward()
    parts = zip(one_by_one(row), labels[:, : sum(LENGTHS)].split(LENGTHS, dim=1), strict=True)
    separate = [alone(ids, labels=label, num_items_in_batch=items) for ids, label in parts]
    sum(part.loss for part in separate).backward()
    assert abs(outputs.loss - sum(part.loss for part in separate)) < 1e-5
    logits = torch.cat([part.logits.flatten(0, -2) for part in separate])
    assert (outputs.logits.flatten(0, -2)[: len(logits)] - logits).abs().max() < 1e-5
    for (name, weight), other in zip(packed.named_parameters(), alone.parameters(), strict=True):
        assert (weight.grad - other.grad).abs().max() < 1e-5, name


@pytest.mark.parametrize("window", [1, 4, 18])
@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("backend", ["eager", "sdpa", "flex_attention"], indirect=True)
def test_local_layers_equal_full_attention_with_a_band_mask(backend, positions, window, tiny_config) -> None:
    tiny_config.position_embedding_type = positions
    ids = torch.randint(5, 69, (2, 19), generator=torch.Generator().manual_seed(6))
    padding = (torch.arange(19) < torch.tensor([[19], [11]])).long()
    band = seen_by([19], window) & padding[:, None, None].bool()
    full = model_of(tiny_config, "eager")
    expected = full(ids, attention_mask=torch.zeros(band.shape).masked_fill(~band, torch.finfo(torch.float32).min))
    tiny_config.sliding_window, tiny_config.layer_types = window, ["sliding_attention"] * 2
    found = model_of(tiny_config, backend)(ids, attention_mask=padding).last_hidden_state
    assert (found - expected.last_hidden_state)[padding.bool()].abs().max() < 1e-5


def test_some_layers_are_global(tiny_config: KmerBertConfig) -> None:
    tiny_config.num_hidden_layers, tiny_config.sliding_window = 5, 2
    assert [tiny_config.window_of(layer) for layer in range(5)] == [None, 2, 2, None, 2]
    tiny_config.layer_types = default_layer_types(5, 2)
    layers = KmerBertModel(tiny_config).encoder.layer
    assert [layer.attention.self.reach for layer in layers] == [None, 2, None, 2, None]
    tiny_config.layer_types = default_layer_types(5, None)
    assert {tiny_config.window_of(layer) for layer in range(5)} == {2}


def test_a_token_does_not_reach_beyond_its_window(tiny_config: KmerBertConfig) -> None:
    tiny_config.sliding_window, tiny_config.layer_types = 3, ["sliding_attention"] * 2
    model, ids = (
        model_of(tiny_config, "sdpa"),
        torch.randint(5, 69, (1, 40), generator=torch.Generator().manual_seed(7)),
    )
    other = ids.clone()
    other[0, 20] = 5 + (ids[0, 20] - 4) % 64
    changed = (model(ids).last_hidden_state != model(other).last_hidden_state).any(-1)[0]
    assert changed.nonzero().flatten().tolist() == list(range(20 - 2 * 3, 20 + 2 * 3 + 1)), "two layers, 3 tokens each"


# Which route is taken.


def layout_for(config: KmerBertConfig, backend: str, **values: object) -> object:
    config._attn_implementation = backend
    hidden = torch.zeros(2, 12, config.hidden_size)
    return attention_layout(config, hidden, values.pop("mask", None), values.pop("positions", None), **values)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_a_cpu_takes_masks_only_where_it_must(backend: str, tiny_config: KmerBertConfig) -> None:
    packed = torch.arange(12).remainder(5)[None]
    padding = (torch.arange(12) < torch.tensor([[12], [7]])).long()
    assert layout_for(tiny_config, backend) == Masked(None, None)
    assert layout_for(tiny_config, backend, positions=torch.arange(12)[None]) == Masked(None, None)
    assert layout_for(tiny_config, backend, positions=packed).lengths == [5, 5, 2] * 2
    assert isinstance(layout_for(tiny_config, backend, positions=packed, need_weights=True), Masked)
    hole = torch.ones(2, 12).index_fill(1, torch.tensor([1]), 0)
    assert isinstance(layout_for(tiny_config, backend, positions=packed, mask=hole), Masked), "a hole in a window"
    tiny_config.sliding_window = 3
    assert isinstance(layout_for(tiny_config, backend, mask=padding), Blocked)
    assert isinstance(layout_for(tiny_config, backend, need_weights=True), Masked)
    assert isinstance(layout_for(tiny_config, "flex_attention"), Masked)
    tiny_config.sliding_window = 11
    assert isinstance(layout_for(tiny_config, backend), Masked), "a window that holds the whole row is none"


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_a_compiled_model_has_no_mask_where_nothing_is_hidden(backend: str, tiny_config, monkeypatch) -> None:
    for module in (routes, masking_utils):
        monkeypatch.setattr(module, "is_tracing", lambda *_: True)
    assert layout_for(tiny_config, backend) == Masked(None, None)


@pytest.mark.parametrize(
    ("route", "changes"),
    [
        ("varlen", {}),
        ("varlen", {"heads": 3}),
        ("groups", {"heads": 2}),  # heads of 384: the kernel takes 256 at most, and multiples of 8
        ("groups", {"heads": 64}),
        ("groups", {"backend": "eager"}),
        ("groups", {"dtype": torch.float32}),
        ("groups", {"dropout": 0.1}),
        ("groups", {"capability": (7, 5)}),
        ("loop", {"device": "cpu"}),
        ("flash", {"backend": "flash_attention_2"}),
        (None, {"backend": "flex_attention"}),
    ],
)
def test_a_gpu_takes_the_variable_length_kernel_where_it_can(route, changes, monkeypatch) -> None:
    case = {"heads": 12, "backend": "sdpa", "dtype": torch.bfloat16, "dropout": 0.0, "capability": (8, 0)} | changes
    monkeypatch.setattr(routes, "varlen_attn", varlen_slowly)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: case["capability"])
    config = KmerBertConfig(num_attention_heads=case["heads"])
    config._attn_implementation = case["backend"]
    hidden = SimpleNamespace(device=torch.device(case.get("device", "cuda")), dtype=case["dtype"])
    assert routes._window_kernel(config, hidden, case["dropout"]) == route


def test_a_variable_length_kernel_without_sliding_windows_is_not_taken(monkeypatch) -> None:
    """torch 2.10 has such a kernel, and a saved model may be loaded by it."""

    def kernel(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False) -> None:
        raise NotImplementedError

    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", SimpleNamespace(varlen_attn=kernel))
    spec = importlib.util.spec_from_file_location("hf_genomics.attention_with_an_old_torch", routes.__file__)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    assert loaded.varlen_attn is None


def test_a_mask_that_is_ready_is_taken_as_it_is(tiny_config: KmerBertConfig) -> None:
    ready = torch.zeros(2, 1, 12, 12)
    assert layout_for(tiny_config, "sdpa", mask=ready) == Masked(ready, ready)


def varlen_slowly(query, key, value, ends_q, ends_k, longest_q, longest_k, *, window_size=(-1, -1)) -> Tensor:
    """Do what torch's variable-length kernel does; it takes (tokens, heads, size) and int32 ends."""
    assert query.ndim == 3 and ends_q.dtype == torch.int32 and ends_q is ends_k
    lengths = ends_q.diff().tolist()
    assert ends_q[0] == 0 and sum(lengths) == len(query) and longest_q == longest_k == max(lengths)
    band = seen_by(lengths, None if window_size == (-1, -1) else window_size[0])
    return attend(*(x[None].transpose(1, 2) for x in (query, key, value)), band)[0][0]


@pytest.mark.parametrize("window", WINDOWS)
def test_the_variable_length_kernel_is_called_as_torch_documents_it(window, tiny_config, monkeypatch) -> None:
    monkeypatch.setattr(routes, "varlen_attn", varlen_slowly)
    tiny_config.sliding_window, row = window, packed_row(padding=3)
    model, ids = model_of(tiny_config, "sdpa"), row["input_ids"]
    expected, plain = model(**row).last_hidden_state, model(ids).last_hidden_state
    monkeypatch.setattr(routes, "_window_kernel", lambda *_: "varlen")
    assert (model(**row).last_hidden_state - expected)[:, :-3].abs().max() < 1e-5
    assert (model(ids).last_hidden_state - plain).abs().max() < 1e-5, "also for local layers over whole rows"


@torch.library.custom_op("hf_genomics_tests::varlen", mutates_args=())
def varlen_op(query: Tensor, key: Tensor, value: Tensor, ends: Tensor, longest: int) -> Tensor:
    """Do what the kernel does, as a compiler meets it: in one piece that it does not look into."""
    return varlen_slowly(query, key, value, ends, ends, longest, longest).contiguous()


@varlen_op.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, ends: Tensor, longest: int) -> Tensor:
    return torch.empty_like(query)


def test_a_compiled_layer_looks_at_no_window_one_by_one(tiny_config, monkeypatch) -> None:
    """The first batch is compiled for its size, the second for any; after that no batch is compiled again."""
    monkeypatch.setattr(routes, "_window_kernel", lambda *_: "varlen")
    monkeypatch.setattr(routes, "varlen_attn", lambda q, k, v, ends, _, longest, __: varlen_op(q, k, v, ends, longest))
    model, counter = model_of(tiny_config, "sdpa"), CompileCounter()
    batches = [[[*range(9), *range(9)]], [[*range(7), *range(5), 0]], [[*range(6), *range(3)]], [[0, 0, 1]]]
    expected = [model(torch.tensor(row) + 5, position_ids=torch.tensor(row)).last_hidden_state for row in batches]
    for layer in model.encoder.layer:
        layer.compile(backend=counter, fullgraph=True)
    with torch.no_grad():
        for row, states in zip(batches, expected, strict=True):
            found = model(torch.tensor(row) + 5, position_ids=torch.tensor(row)).last_hidden_state
            assert (found - states).abs().max() < 1e-5
    assert counter.frame_count == 2


@pytest.mark.parametrize("window", WINDOWS)
def test_flash_backends_are_handed_the_packed_windows(window, tiny_config, monkeypatch) -> None:
    calls = []

    def flash(module, query, key, value, mask, **kwargs):
        calls.append(kwargs["sliding_window"])
        near = (-1, -1) if calls[-1] is None else (calls[-1] - 1,) * 2
        ends, longest = kwargs["cu_seq_lens_q"], kwargs["max_length_q"]
        assert mask is None and kwargs["cu_seq_lens_k"] is ends and kwargs["max_length_k"] == longest
        rows = (x[0].transpose(0, 1) for x in (query, key, value))
        return varlen_slowly(*rows, ends, ends, longest, longest, window_size=near)[None], None

    tiny_config.sliding_window, row = window, packed_row(padding=3)
    model = model_of(tiny_config, "sdpa")
    expected = model(**row).last_hidden_state
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._local_mapping, "flash_attention_2", flash)
    model.config._attn_implementation = "flash_attention_2"
    assert (model(**row).last_hidden_state - expected)[:, :-3].abs().max() < 1e-5
    assert calls == [None, None if window is None else window + 1]
    row["attention_mask"][0, 2] = 0
    with pytest.raises(ValueError, match="flash_attention_2 cannot hide tokens inside a packed window"):
        model(**row)


@pytest.mark.gpu
@pytest.mark.parametrize("window", WINDOWS)
def test_packed_windows_agree_on_a_gpu(window, tiny_config) -> None:
    tiny_config.sliding_window, row = window, {name: x.cuda() for name, x in packed_row().items()}
    model = model_of(tiny_config, "sdpa").cuda()
    exact = model(**row).last_hidden_state
    single = torch.cat([model(ids).last_hidden_state for ids in one_by_one(row)], 1)
    assert (exact - single).abs().max() < 1e-4, "in groups"
    with torch.autocast("cuda", torch.bfloat16):
        assert isinstance(attention_layout(model.config, exact, None, row["position_ids"]), Packed)
        half = model(**row).last_hidden_state
        alone = torch.cat([model(ids).last_hidden_state for ids in one_by_one(row)], 1)
    assert (half - exact).abs().max() < 0.05 and (half - alone).abs().max() < 0.05


# Reach.

LONG = """
import sys, torch
from hf_genomics import KmerBertConfig, KmerBertModel
torch.set_num_threads(1)
backend, window = sys.argv[1], int(sys.argv[2]) or None
sizes = {"hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 8, "intermediate_size": 1024}
local = {"sliding_window": window, "layer_types": ["sliding_attention"] * 2} if window else {}
config = KmerBertConfig(**sizes, **local, position_embedding_type="rotary")
model = KmerBertModel._from_config(config, attn_implementation=backend).eval()
ids = torch.randint(5, 4101, (1, int(sys.argv[3])))
mask = torch.ones_like(ids)
mask[:, -5:] = 0
with torch.no_grad():
    assert model(ids, attention_mask=mask).last_hidden_state.isfinite().all()
# Not ru_maxrss of getrusage: a new process inherits the peak of the process that started it.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) / 2**20)
"""


def peak_gigabytes(backend: str, window: int, tokens: int) -> float:
    """Measure the memory of a forward pass in a process of its own."""
    command = [sys.executable, "-c", LONG, backend, str(window), str(tokens)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak memory of a process is read from /proc")
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_32768_tokens_fit_where_full_attention_would_not(backend: str) -> None:
    local, half = (peak_gigabytes(backend, 128, tokens) for tokens in (32768, 16384))
    start = peak_gigabytes(backend, 128, 256)
    assert local < 8 and local - start < 2.3 * (half - start), "memory grows with the number of tokens"
    full, small = (peak_gigabytes("eager", 0, tokens) for tokens in (4096, 2048))
    assert full - start > 3 * (small - start), "and with its square for full attention"
    assert (full - start) * (32768 / 4096) ** 2 > 32, "which comes to more than 32 GB"
