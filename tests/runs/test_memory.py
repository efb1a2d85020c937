"""The estimate of a step's memory: against what autograd keeps, tensor by tensor; its margins; its messages."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainingArguments

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM
from hf_genomics.cli import main
from hf_genomics.errors import InputError
from hf_genomics.runs import memory
from hf_genomics.runs.memory import (
    BatchShape,
    ComputeMode,
    activation_bytes,
    check_memory,
    free_memory,
    keep_freed_memory,
    step_memory,
)

GIB = 2**30


def model_of(attention: str, **options) -> KmerBertForMaskedLM:
    sizes = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 256}
    config = KmerBertConfig(k=3, **sizes, **options)
    return KmerBertForMaskedLM._from_config(config, attn_implementation=attention).train()


def batch_of(rows: int, tokens: int, packed: bool) -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 69, (rows, tokens), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": ids, "labels": ids.where(ids % 7 == 0, -100)}
    if packed:
        positions = torch.arange(tokens).repeat(rows)[None]
        return {name: column.reshape(1, -1) for name, column in batch.items()} | {"position_ids": positions}
    mask = torch.ones_like(ids)
    mask[0, tokens // 2 :] = 0
    return batch | {"attention_mask": mask}


def kept_by_autograd(model: torch.nn.Module, batch: dict[str, torch.Tensor], half: bool) -> int:
    """The slow twin: look at every tensor that a forward pass keeps, each storage once, without the weights."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=half):
        model(**batch)
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in weights)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_estimate_is_what_autograd_keeps(attention, dropout, half, packed) -> None:
    model = model_of(attention, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    batch = batch_of(4, 96, packed)
    shape, mode = BatchShape.of(batch), ComputeMode("cpu", attention, half)
    passing = memory.backward_bytes(model.config, shape, None, mode)
    found, expected = activation_bytes(model.config, shape, mode) - passing, kept_by_autograd(model, batch, half)
    assert 0.8 * expected < found < 1.45 * expected


def test_only_labelled_tokens_have_logits_unless_all_are_asked_for() -> None:
    batch = batch_of(4, 96, packed=False)
    sparse, full = (model_of("eager", sparse_prediction=flag).config for flag in (True, False))
    shape = BatchShape.of(batch)
    assert shape == (4 * 96, [96] * 4, int((batch["labels"] != -100).sum()), False)
    cuda = ComputeMode("cuda")  # on a CPU the last layer computes the labelled tokens only
    more = activation_bytes(full, shape, cuda) - activation_bytes(sparse, shape, cuda)
    assert more == (shape.tokens - shape.predicted) * (12 * 69 + 16 * 64)
    selecting = activation_bytes(full, shape, ComputeMode()) - activation_bytes(sparse, shape, ComputeMode())
    assert selecting > more + memory.layer_bytes(full, shape, None, ComputeMode()) / 2


def test_the_shape_of_a_batch_of_packed_rows_or_of_parts() -> None:
    positions = torch.tensor([[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 0, 1]])
    packed = {
        "input_ids": torch.zeros_like(positions),
        "position_ids": positions,
        "labels": positions.new_full((2,), 1),
    }
    assert BatchShape.of(packed) == (12, [3, 2, 1, 4, 2], 0, True)
    parts = torch.ones(2, 3, 5, dtype=torch.int64)
    there = parts.clone()
    there[1, 1:] = 0
    assert BatchShape.of({"input_ids": parts, "attention_mask": there}) == (20, [5] * 4, 0, False)


def test_memory_grows_as_it_should() -> None:
    config, shape = KmerBertConfig(), BatchShape(512 * 32, [512] * 32, 2400)
    one, two = (step_memory(config, 10**8, shape, ComputeMode(), processes=processes) for processes in (1, 2))
    assert (one.weights, one.gradients, one.optimizer) == (4 * 10**8, 4 * 10**8, 8 * 10**8)
    assert two.gradients == 2 * one.gradients and two.activations == one.activations
    head = step_memory(config, 10**8, shape, ComputeMode(), num_trained=10**6)
    assert head == (4 * 10**8, 4 * 10**6, 8 * 10**6, one.activations), "frozen weights have neither gradient nor state"
    assert step_memory(config, 10**8, shape, ComputeMode(checkpointing=True)).activations < one.activations / 5
    tiles = step_memory(config, 10**8, shape, ComputeMode("cuda", "sdpa")).activations
    assert tiles < one.activations / 2, "a GPU's kernels keep no scores"
    local = KmerBertConfig(sliding_window=16, layer_types=["sliding_attention"] * 12)
    assert activation_bytes(local, shape, ComputeMode()) < 0.6 * activation_bytes(config, shape, ComputeMode())
    doubled = BatchShape(2 * shape.tokens, 2 * shape.windows, 2 * shape.predicted)
    assert activation_bytes(config, doubled, ComputeMode()) == 2 * activation_bytes(config, shape, ComputeMode())


def checked(tmp_path, monkeypatch, free: float, **options) -> None:
    """Check BERT-base at 32 windows of 512 tokens where ``free`` bytes are free."""
    monkeypatch.setattr(memory, "free_memory", lambda *_: int(free))
    args = TrainingArguments(str(tmp_path), per_device_train_batch_size=32, use_cpu=True, **options)
    ids = torch.full((32, 512), 9)
    check_memory(args, KmerBertConfig(), lambda: KmerBertForMaskedLM(KmerBertConfig()), {"input_ids": ids}, "eager")


def test_a_batch_that_cannot_fit_is_refused_with_one_that_does(tmp_path, monkeypatch, caplog) -> None:
    with pytest.raises(
        InputError, match=r"trainer.per_device_train_batch_size 32: a step needs about .* GiB"
    ) as refused:
        checked(tmp_path, monkeypatch, 10 * GIB)
    assert "cpu has 10.00 GiB free; set it to " in str(refused.value)
    size = int(str(refused.value).split("set it to ")[1].split()[0])
    assert f"trainer.gradient_accumulation_steps to {32 // size} (the same steps)" in str(refused.value)
    config = KmerBertConfig()
    with torch.device("meta"):
        count = sum(weight.numel() for weight in KmerBertForMaskedLM(config).parameters())

    def total(rows: int) -> float:
        return step_memory(config, count, BatchShape(512 * rows, [512] * rows, 0), ComputeMode()).total * memory.HIGHEST

    assert 32 % size == 0 and total(size) <= 10 * GIB < total(2 * size)
    with pytest.raises(InputError, match="smaller model, shorter windows, or trainer.gradient_checkpointing true"):
        checked(tmp_path, monkeypatch, 1 * GIB)
    assert not caplog.text


@pytest.mark.parametrize("free", [1, 3])
def test_gradient_checkpointing_that_is_on_is_not_advised(tmp_path, monkeypatch, free) -> None:
    with pytest.raises(InputError, match="smaller model or shorter windows$|\\(the same steps\\)$"):
        checked(tmp_path, monkeypatch, free * GIB, gradient_checkpointing=True)


def test_a_model_that_fits_with_no_batch_is_named_instead_of_the_batch(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda *_: GIB)
    args = TrainingArguments(str(tmp_path), per_device_train_batch_size=1, use_cpu=True)
    for sizes, named in (({"k": 8, "hidden_size": 3072}, "vocab_size 65,541"), ({"k": 3}, "num_hidden_layers 40")):
        config = KmerBertConfig(**({"num_hidden_layers": 1 if sizes["k"] == 8 else 40} | sizes))
        with pytest.raises(InputError) as refused:
            check_memory(
                args, config, partial(KmerBertForMaskedLM, config), {"input_ids": torch.ones(1, 9).long()}, "eager"
            )
        assert named in str(refused.value) and "batch_size" not in str(refused.value)


def test_a_model_beyond_the_machine_is_one_line(tmp_path) -> None:
    def build() -> torch.nn.Module:
        raise ValueError("a model of 9 weights takes more")

    args = TrainingArguments(str(tmp_path), use_cpu=True)
    with pytest.raises(InputError, match="9 weights"):
        check_memory(args, KmerBertConfig(), build, {"input_ids": torch.ones(1, 9).long()}, "eager")


def test_a_batch_that_may_not_fit_is_warned_of_and_one_that_does_is_not(tmp_path, monkeypatch, caplog) -> None:
    needed = step_memory(KmerBertConfig(), 89 * 10**6, BatchShape(512 * 32, [512] * 32, 0), ComputeMode()).total
    checked(tmp_path, monkeypatch, needed)
    assert "so it may run out of memory; if it does, set it to" in caplog.text
    caplog.clear()
    checked(tmp_path, monkeypatch, 2 * memory.HIGHEST * needed)
    assert not caplog.text


def test_free_memory_is_what_a_container_leaves(tmp_path, monkeypatch) -> None:
    whole = free_memory(torch.device("cpu"))
    assert whole > 0 and free_memory(torch.device("cpu"), 2) == pytest.approx(whole / 2, rel=0.1)
    for name, text in {"max": "3000\n", "current": "1500", "stat": "anon 5\ninactive_file 500\n"}.items():
        (tmp_path / name).write_text(text)
    files = tuple(str(tmp_path / name) for name in ("max", "current", "stat"))
    monkeypatch.setattr(memory, "_CGROUPS", (files, ("no", "such", "files")))
    assert free_memory(torch.device("cpu")) == 2000
    (tmp_path / "max").write_text("max\n")
    assert free_memory(torch.device("cpu")) > 10**6
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (700, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 200)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 50)
    assert free_memory(SimpleNamespace(type="cuda"), 1) == 850


def test_the_margins_that_decide_are_those_that_were_measured(tmp_path, monkeypatch, caplog) -> None:
    """Between 0.5 and 1.4 of the estimate it depends on the step: below is an error, between a warning."""
    needed = 1000 * GIB
    monkeypatch.setattr(memory, "step_memory", lambda *args, **_: memory.StepMemory(0, 0, 0, needed))
    for free, outcome in ((0.499, "error"), (0.501, "warning"), (1.399, "warning"), (1.401, "nothing")):
        caplog.clear()
        try:
            checked(tmp_path, monkeypatch, free * needed)
            found = "warning" if caplog.text else "nothing"
        except InputError:
            found = "error"
        assert found == outcome, f"{free} of the estimate is free"


def test_a_step_of_bert_base_is_estimated_at_these_bytes() -> None:
    """Golden: 32 windows of 512 tokens, a tenth of them predicted, 10^8 weights, dropout 0.1.

    On a CPU activations are multiplied by 1.25 for the heap, measured; other devices' allocators are not.
    """
    config, shape = KmerBertConfig(sparse_prediction=True), BatchShape(512 * 32, [512] * 32, 1638)
    on_cpu, on_gpu = (step_memory(config, 10**8, shape, ComputeMode(device, "eager")) for device in ("cpu", "cuda"))
    assert (on_cpu.weights, on_cpu.gradients, on_cpu.optimizer) == (400_000_000, 400_000_000, 800_000_000)
    assert on_cpu.activations == int(1.25 * activation_bytes(config, shape, ComputeMode("cpu", "eager")))
    assert on_gpu.activations == activation_bytes(config, shape, ComputeMode("cuda", "eager"))
    assert (on_cpu.activations, on_gpu.activations) == (31_381_816_290, 22_259_245_032)
    half = step_memory(config, 10**8, shape, ComputeMode("cuda", "eager", half=True))
    assert half.activations == activation_bytes(config, shape, ComputeMode("cuda", "eager", True)) + 200_000_000


@pytest.mark.parametrize(
    ("optimizer", "numbers"),
    [("adamw_torch", 2.0), ("sgd", 0.0), ("adafactor", 0.1), ("adagrad", 1.0), ("rmsprop", 1.0), ("lion_8bit", 1.0)],
)
def test_each_optimizer_keeps_its_numbers(tmp_path, monkeypatch, optimizer, numbers) -> None:
    states = []

    def noted(*args, state, **kwargs):
        states.append(state)
        return memory.StepMemory(0, 0, 0, 0)

    monkeypatch.setattr(memory, "step_memory", noted)
    checked(tmp_path, monkeypatch, GIB, optim=optimizer)
    assert states == [numbers]


# the C library


@pytest.mark.parametrize(
    ("platform", "library", "calls"),
    [
        ("linux", "glibc", [(-4, 0), (-1, 2**31 - 1), (-2, 2**28)]),  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
        ("linux", "musl", []),  # has no mallopt
        ("darwin", "glibc", []),
    ],
)
def test_freed_memory_is_kept_where_the_c_library_can(monkeypatch, platform, library, calls) -> None:
    made = []
    handle = SimpleNamespace(mallopt=lambda *call: made.append(call)) if library == "glibc" else SimpleNamespace()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: handle)
    monkeypatch.setattr(memory.sys, "platform", platform)
    keep_freed_memory()
    assert made == calls


def test_a_user_learns_it_before_the_first_step(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "free_memory", lambda *_: 10**6)
    from hf_genomics import KmerTokenizer, prepare

    (tmp_path / "g.fa").write_text(">g\n" + "ACGTTGCA" * 40 + "\n")
    prepare(["g.fa"], "store")
    sizes = "--model.hidden_size 16 --model.num_hidden_layers 1 --model.num_attention_heads 2 --tokenizer.k 3 "
    rest = "--data.train_split null --data.valid_split null --windows.length 40 --trainer.use_cpu true "
    rest += "--trainer.per_device_train_batch_size 2 --trainer.output_dir out --data.store store"
    assert main(["pretrain", *(sizes + rest).split()]) == 2
    assert "trainer.per_device_train_batch_size 2: a step needs about" in capsys.readouterr().err
    KmerBertForMaskedLM(model_of("eager").config).save_pretrained("model")
    KmerTokenizer(k=3).save_pretrained("model")
    (tmp_path / "t.csv").write_text("sequence,label\n" + "ACGTTG,a\nTTGACA,b\n" * 2)
    words = "--pretrained model --data.train t.csv --trainer.output_dir out --trainer.use_cpu true"
    assert main(["finetune", *words.split()]) == 2
    error = capsys.readouterr().err  # without any batch, this model is too large
    assert "a model of " in error and "a step needs about" in error and "per_device_train_batch_size" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory of this process is read from /proc")
def test_freed_memory_between_arrays_in_use_goes_back_to_the_system():
    program = """
import ctypes
from hf_genomics.runs.memory import keep_freed_memory, return_freed_memory
keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
places = []
for number in range(200):
    places.append(libc.malloc(1 << 20))
    ctypes.memset(ctypes.c_void_p(places[-1]), 1, 1 << 20)
for place in places[::2]:
    libc.free(place)
before = resident()
return_freed_memory()
print(before - resident())
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(run.stdout) > 80 << 20
