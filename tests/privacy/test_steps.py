"""A private run draws Poisson batches, takes the step of its slow twin, and ends within its epsilon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from finetune_tables import arguments, write_table

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerTokenizer
from hf_genomics.errors import InputError
from hf_genomics.finetuning.finetune import finetune
from hf_genomics.finetuning.head import Head
from hf_genomics.finetuning.plan import plan_finetuning
from hf_genomics.finetuning.run import build_trainer
from hf_genomics.labelled.columns import Columns
from hf_genomics.labelled.data import LabelledData

pytest.importorskip("opacus")
from hf_genomics.privacy.gradients import secret_generator  # noqa: E402 (skips without opacus)
from hf_genomics.privacy.steps import PoissonBatches  # noqa: E402

pytestmark = pytest.mark.usefixtures("empty_pictures")

SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("private")
    for seed, split in enumerate(("train", "valid", "test")):
        write_table(folder / f"{split}.csv", 40, seed)
    torch.manual_seed(0)
    KmerBertForMaskedLM(KmerBertConfig(k=3, **SIZES)).save_pretrained(folder / "pretrained")
    KmerTokenizer(k=3).save_pretrained(folder / "pretrained")
    return folder


def table(home: Path, **columns: object) -> LabelledData:
    splits = {name: str(home / f"{name}.csv") for name in ("train", "valid", "test")}
    return LabelledData(**splits, columns=Columns(**({"label": "more_g"} | columns)))


def tune(home: Path, out: Path, head: Head, steps: int = 6, batch: int = 8, **options: object) -> dict:
    run = arguments(out, max_steps=steps, per_device_train_batch_size=batch, logging_steps=1, **options)
    return finetune(str(home / "pretrained"), table(home), run, head, baseline_k=0)


def test_batches_are_poisson_samples():
    batches = [rows for _ in range(200) for rows in PoissonBatches(20, 4, secret_generator())]
    assert len(batches) == 200 * 5 and len(PoissonBatches(20, 4, secret_generator())) == 5
    member = torch.zeros(len(batches), 20)
    for number, rows in enumerate(batches):
        assert rows == sorted(set(rows))
        member[number, rows] = 1
    sizes = member.sum(1)
    assert abs(sizes.mean() - 4) < 0.3 and abs(sizes.var() - 20 * 0.2 * 0.8) < 0.7  # binomial
    assert (member.mean(0) - 0.2).abs().max() < 0.07  # each row alike
    assert (torch.corrcoef(member.T) - torch.eye(20)).abs().max() < 0.15  # and independently of the others
    assert [] in [rows for _ in range(200) for rows in PoissonBatches(3, 1, secret_generator())]


def test_the_loader_of_a_run_gives_poisson_batches(home, tmp_path):
    run = arguments(tmp_path / "out", max_steps=1, per_device_train_batch_size=8)
    head = Head(dp_epsilon=1.0)
    trainer = build_trainer(plan_finetuning(str(home / "pretrained"), table(home), run, head))
    batches = [batch["row_numbers"].tolist() for _ in range(20) for batch in trainer.get_train_dataloader()]
    assert len(batches) == 20 * 5 and all(len(set(rows)) == len(rows) for rows in batches)
    sizes = torch.tensor([len(rows) for rows in batches], dtype=torch.float32)
    assert abs(sizes.mean() - 8) < 1.3 and 3 < sizes.var() < 12  # binomial: 6.4


def test_a_run_ends_within_its_epsilon_and_its_files_say_so(home, tmp_path):
    metrics = tune(home, tmp_path / "out", Head(dp_epsilon=2.0))
    private = json.loads((tmp_path / "out" / "metrics.json").read_text())["privacy"]
    assert private == metrics["privacy"]
    assert 1.9 < private["epsilon"] <= 2.0 and private["steps"] == 6 and private["sample_rate"] == 0.2
    assert private["delta"] == 0.1 / 40 and private["noise_multiplier"] > 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "differential privacy" in card and f"{private['noise_multiplier']:.3g}" in card
    train = json.loads((tmp_path / "out" / "run.json").read_text())["data"]["splits"]["train"]
    assert train == {"file": "train.csv", "sequences": 40}
    assert not list((tmp_path / "out").glob("checkpoint-*"))


@pytest.mark.slow
def test_two_runs_with_one_seed_have_other_noise(home, tmp_path):
    for name in ("one", "two"):
        tune(home, tmp_path / name, Head(dp_epsilon=2.0), steps=1)
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert first != second


def test_a_step_is_that_of_the_slow_twin(home, tmp_path, monkeypatch):
    # All rows in each batch and next to no noise: the step follows from the gradients of one row at a time.
    head = Head(dp_epsilon=1000.0, dp_clip=0.3, train="head")
    run = {"max_steps": 1, "per_device_train_batch_size": 40, "optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0}
    run |= {"lr_scheduler_type": "constant"}
    plan = plan_finetuning(str(home / "pretrained"), table(home), arguments(tmp_path / "plan", **run), head)
    network = plan.network.eval()
    trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    total = {name: torch.zeros_like(weight) for name, weight in trained.items()}
    for row in range(40):
        batch = plan.collator([{**_row(plan, row), "window_index": row, "epoch": 0}])
        network.zero_grad()
        network(**batch).loss.backward()
        norm = torch.cat([weight.grad.flatten() for weight in trained.values()]).norm()
        for name, weight in trained.items():
            total[name] += weight.grad * min(1, 0.3 / norm)
    expected = {name: weight.detach() - total[name] / 40 for name, weight in trained.items()}

    scales = []

    def without_noise(total, scale, generator):
        scales.append(scale)
        return total

    monkeypatch.setattr("hf_genomics.privacy.steps.noisy", without_noise)
    monkeypatch.setattr("hf_genomics.privacy.steps._MOST_BYTES", 4 * 7 * sum(w.numel() for w in trained.values()))
    trainer = build_trainer(
        plan_finetuning(str(home / "pretrained"), table(home), arguments(tmp_path / "out", **run), head)
    )
    for part in trainer.model.modules():  # no dropout
        if hasattr(part, "p"):
            part.p = 0.0
    trainer.train()
    found = dict(trainer.model.named_parameters())
    assert trainer.steps_taken == 1 and trainer._rows_at_once == 7
    assert set(scales) == {trainer.budget.noise_multiplier * 0.3}
    for name, weight in expected.items():
        torch.testing.assert_close(found[name].detach(), weight, rtol=1e-4, atol=1e-6)


def _row(plan, row: int) -> dict:
    training = plan.splits.training
    return {"sequence": training.sequences[row], "label": training.known_labels[row]}


@pytest.mark.slow
def test_an_empty_batch_is_a_step_of_noise(home, tmp_path):
    metrics = tune(home, tmp_path / "out", Head(dp_epsilon=2.0), steps=12, batch=1)  # 36 % of the batches are empty
    assert metrics["privacy"]["steps"] == 12 and metrics["privacy"]["epsilon"] <= 2.0


@pytest.mark.slow
@pytest.mark.parametrize("head", [Head(dp_epsilon=3.0, train="lora"), Head(dp_epsilon=3.0, train="last:1")])
def test_a_part_of_the_weights_can_be_trained(home, tmp_path, head):
    assert tune(home, tmp_path / "out", head, steps=2)["privacy"]["epsilon"] <= 3.0


@pytest.mark.parametrize(
    ("head", "options", "columns", "key"),
    [
        ({"num_parts": 2}, {}, {}, "head.num_parts"),
        ({"oversample": True}, {}, {}, "head.oversample"),
        ({"balanced": True}, {}, {}, "head.balanced"),
        ({"early_stopping": 2}, {}, {}, "head.early_stopping: .*; omit it or head.dp_epsilon"),
        ({"dp_delta": 0.5}, {}, {}, "head.dp_delta"),
        ({}, {"gradient_accumulation_steps": 2}, {}, "trainer.gradient_accumulation_steps"),
        ({}, {"gradient_checkpointing": True}, {}, "trainer.gradient_checkpointing"),
        ({}, {}, {"label": "share_g"}, "data.columns.label"),
        ({}, {}, {"tracks": ["age"]}, "data.columns.tracks"),
        ({}, {"resume": True}, {}, "resume"),
    ],
)
def test_what_cannot_be_private_is_refused_before_anything_is_written(home, tmp_path, head, options, columns, key):
    resume = options.pop("resume", False)
    if resume:  # nothing to resume would be another error
        (tmp_path / "out" / "checkpoint-1").mkdir(parents=True)
    with pytest.raises(InputError, match=key):
        plan_finetuning(
            str(home / "pretrained"),
            table(home, **columns),
            arguments(tmp_path / "out", **options),
            Head(**({"dp_epsilon": 3.0} | head)),
            resume="auto" if resume else False,
        )
    assert resume or not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [{"dp_epsilon": 0}, {"dp_epsilon": float("nan")}, {"dp_delta": 1e-5}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=f"head.{next(iter(wrong))}"):
        Head(**wrong)
