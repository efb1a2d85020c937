"""The estimate of a step's memory: against what autograd keeps, tensor by tensor, and what is made of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import TrainingArguments

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM
from hf_genomics.cli import main
from hf_genomics.errors import InputError
from hf_genomics.runs import memory
from hf_genomics.runs.memory import BatchShape, Way, activation_bytes, check_memory, free_memory, step_memory

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
    """The slow twin: look at every tensor that a forward pass keeps, each storage once, weights left out."""
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
    shape, way = BatchShape.of(batch), Way("cpu", attention, half)
    passing = memory.passing_bytes(model.config, shape, None, way)
    found, expected = activation_bytes(model.config, shape, way) - passing, kept_by_autograd(model, batch, half)
    assert 0.8 * expected < found < 1.45 * expected


def test_only_labelled_tokens_have_logits_unless_all_are_asked_for() -> None:
    batch = batch_of(4, 96, packed=False)
    sparse, full = (model_of("eager", sparse_prediction=flag).config for flag in (True, False))
    shape = BatchShape.of(batch)
    assert shape == (4 * 96, [96] * 4, int((batch["labels"] != -100).sum()), False)
    cuda = Way("cuda")  # on a CPU the last layer is narrower too
    more = activation_bytes(full, shape, cuda) - activation_bytes(sparse, shape, cuda)
    assert more == (shape.tokens - shape.predicted) * (12 * 69 + 16 * 64)
    narrow = activation_bytes(full, shape, Way()) - activation_bytes(sparse, shape, Way())
    assert narrow > more + memory.layer_bytes(full, shape, None, Way()) / 2


def test_the_shape_of_a_batch_is_read_off_packed_rows_and_parts() -> None:
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
    one, two = (step_memory(config, 10**8, shape, Way(), processes=processes) for processes in (1, 2))
    assert (one.weights, one.gradients, one.optimizer) == (4 * 10**8, 4 * 10**8, 8 * 10**8)
    assert two.gradients == 2 * one.gradients and two.activations == one.activations
    assert step_memory(config, 10**8, shape, Way(checkpointing=True)).activations < one.activations / 5
    tiles = step_memory(config, 10**8, shape, Way("cuda", "sdpa")).activations
    assert tiles < one.activations / 2, "a GPU's kernels keep no scores"
    local = KmerBertConfig(sliding_window=16, layer_types=["sliding_attention"] * 12)
    assert activation_bytes(local, shape, Way()) < 0.6 * activation_bytes(config, shape, Way())
    doubled = BatchShape(2 * shape.tokens, 2 * shape.windows, 2 * shape.predicted)
    assert activation_bytes(config, doubled, Way()) == 2 * activation_bytes(config, shape, Way())


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
        return step_memory(config, count, BatchShape(512 * rows, [512] * rows, 0), Way()).total * memory.HIGHEST

    assert 32 % size == 0 and total(size) <= 10 * GIB < total(2 * size)
    with pytest.raises(
        InputError, match="take a smaller model, shorter windows, or trainer.gradient_checkpointing true"
    ):
        checked(tmp_path, monkeypatch, 1 * GIB)
    assert not caplog.text


def test_a_batch_that_may_not_fit_is_warned_of_and_one_that_does_is_not(tmp_path, monkeypatch, caplog) -> None:
    needed = step_memory(KmerBertConfig(), 89 * 10**6, BatchShape(512 * 32, [512] * 32, 0), Way()).total
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


def test_a_user_is_told_before_the_first_step(tmp_path, monkeypatch, capsys) -> None:
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
    assert "trainer.per_device_train_batch_size 8: a step needs about" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
