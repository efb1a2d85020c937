"""What holds for every head that classifies sequences, nucleotides or windows: one table of cases, one test per law."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    Trainer,
    TrainingArguments,
)

from hf_genomics import (
    FusionKmerBertConfig,
    FusionKmerBertForSequenceClassification,
    HierarchicalKmerBertConfig,
    HierarchicalKmerBertForSequenceClassification,
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerBertForTokenClassification,
    KmerTokenizer,
)

SIZES = {
    "k": 3,
    "stride": 2,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
SINGLE, SEVERAL, VALUES = "single_label_classification", "multi_label_classification", "regression"
SEQUENCE = (KmerBertConfig, KmerBertForSequenceClassification)
HIERARCHY = (HierarchicalKmerBertConfig, HierarchicalKmerBertForSequenceClassification)
FUSION = (FusionKmerBertConfig, FusionKmerBertForSequenceClassification)
TRACKS = {"track_names": ["age", "gc"], "track_means": [5.0, 0.4], "track_stds": [2.0, 0.1]}
SIGNALS = {"nt_track_names": ["dnase"], "nt_track_means": [0.2], "nt_track_stds": [0.5]}
CASES = {
    "cls": (*SEQUENCE, {"problem_type": SINGLE}),
    "mean": (*SEQUENCE, {"problem_type": SINGLE, "classifier_pooling": "mean", "class_weights": [1.0, 3.0, 2.0]}),
    "max": (*SEQUENCE, {"problem_type": VALUES, "classifier_pooling": "max"}),
    "scaled": (*SEQUENCE, {"problem_type": VALUES, "target_means": [0.5, -0.3, 0.0], "target_scales": [2.0, 0.5, 1.0]}),
    "attention": (*SEQUENCE, {"problem_type": SEVERAL, "classifier_pooling": "attention", "focal_gamma": 2.0}),
    "nt": (KmerBertConfig, KmerBertForTokenClassification, {"labels_per": "nt", "focal_gamma": 1.0}),
    "parts_concat": (*HIERARCHY, {"problem_type": SINGLE, "num_parts": 3}),
    "parts_mean": (*HIERARCHY, {"problem_type": SEVERAL, "aggregation": "mean", "classifier_pooling": "mean"}),
    "parts_max": (*HIERARCHY, {"problem_type": VALUES, "aggregation": "max"}),
    "parts_transformer": (*HIERARCHY, {"problem_type": SINGLE, "aggregation": "transformer", "part_layers": 1}),
    "tracks": (*FUSION, {"problem_type": VALUES, **TRACKS}),
    "signals": (*FUSION, {"problem_type": SINGLE, **SIGNALS}),
    "tracks_and_signals": (*FUSION, {"problem_type": SINGLE, "classifier_pooling": "mean", **TRACKS, **SIGNALS}),
}
MASKED = {
    "masked": (KmerBertConfig, KmerBertForMaskedLM, {}),
    "masked_all_logits": (KmerBertConfig, KmerBertForMaskedLM, {"sparse_prediction": False}),
}
LENGTHS = [30, 11, 26, 3, 17, 29, 8, 21]  # nt


def built(case: str, attention: str = "sdpa") -> torch.nn.Module:
    """Build a model whose every weight is far from its start."""
    config_class, kind, settings = (CASES | MASKED)[case]
    torch.manual_seed(0)
    config = config_class(**SIZES, num_labels=3, **settings)
    model = kind._from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def sequences() -> list[str]:
    generator = torch.Generator().manual_seed(1)
    return ["".join("ACGTN"[i] for i in torch.randint(0, 5, (n,), generator=generator).tolist()) for n in LENGTHS]


def inputs_for(case: str, side: str = "right") -> dict[str, Tensor]:
    """Tokenise eight sequences; for hierarchical models their halves, where the short ones have but one."""
    tokenizer = KmerTokenizer(3, 2, padding_side=side)
    rows = sequences()
    if case.startswith("parts"):
        tokens = tokenizer([part for row in rows for part in (row[:15], row[15:] or "AAA")], padding=True)
        batch = {name: torch.tensor(tokens[name]).unflatten(0, (8, 2)) for name in ("input_ids", "attention_mask")}
        batch["attention_mask"][:, 1] *= torch.tensor([[n > 15] for n in LENGTHS])
        return batch
    tokens = tokenizer(rows, padding=True, return_tensors="pt")
    batch = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    generator = torch.Generator().manual_seed(2)
    if "tracks" in case:
        batch["tracks"] = torch.randn(8, 2, generator=generator)
        batch["tracks"][1, 0] = batch["tracks"][4] = float("nan")
    if "signals" in case:
        batch["nt_tracks"] = torch.rand(8, 30, 1, generator=generator)
        for row, length in enumerate(LENGTHS):
            batch["nt_tracks"][row, length:] = float("nan")
        batch["nt_tracks"][0, 3:9] = float("nan")
    return batch


def labels_for(case: str) -> Tensor:
    """Draw labels, some of them missing."""
    generator = torch.Generator().manual_seed(3)
    if case in MASKED:
        ids = inputs_for(case)["input_ids"]
        masked = torch.rand(ids.shape, generator=generator) < torch.linspace(0, 1, 8)[:, None]
        return ids.where(masked & (ids >= 5), torch.tensor(-100))
    if case == "nt":
        labels = torch.randint(0, 3, (8, 30), generator=generator)
        known = torch.rand(8, 30, generator=generator) < torch.linspace(0, 1, 8)[:, None]
        return labels.where(known & (torch.arange(30) < torch.tensor(LENGTHS)[:, None]), torch.tensor(-100))
    problem = CASES[case][2]["problem_type"]
    if problem == SINGLE:
        return torch.tensor([0, 2, 1, -100, 2, 2, 0, 1])
    values = torch.randn(8, 3, generator=generator)
    if problem == VALUES:
        return values
    return (values > 0).float().masked_fill(values.abs() > 1, -100.0)


def same(left: Tensor, right: Tensor, tolerance: float = 1e-5) -> bool:
    return left.shape == right.shape and torch.allclose(left, right, atol=tolerance, rtol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_eager_and_sdpa_agree(case: str) -> None:
    inputs = inputs_for(case)
    eager, sdpa = (built(case, attention)(**inputs, labels=labels_for(case)) for attention in ("eager", "sdpa"))
    assert same(eager.logits, sdpa.logits) and same(eager.loss, sdpa.loss)
    recorded = built(case, "eager")(**inputs, output_hidden_states=True, output_attentions=True)
    assert len(recorded.hidden_states) == 3 and len(recorded.attentions) == 2


@pytest.mark.parametrize("backend", ["sdpa", pytest.param("flex_attention", marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_attentions_are_those_of_eager_whatever_the_backend(case: str, backend: str) -> None:
    inputs = inputs_for(case)
    eager, other = built(case, "eager"), built(case, backend)
    expected, found = (model(**inputs, output_attentions=True) for model in (eager, other))
    assert len(found.attentions) == 2 and all(map(same, found.attentions, expected.attentions))
    assert same(found.logits, expected.logits)
    as_tuple = other(**inputs, output_attentions=True, return_dict=False)
    assert len(as_tuple[-1]) == 2 and same(as_tuple[-1][0], expected.attentions[0])


@pytest.mark.parametrize("case", CASES)
def test_a_sequence_says_the_same_alone_as_in_a_batch_padded_on_either_side(case: str) -> None:
    model, inputs = built(case), inputs_for(case)
    together = model(**inputs).logits
    for row in (0, 3, 5):
        alone = {name: column[row : row + 1] for name, column in inputs.items()}
        tokens = alone["attention_mask"].flatten(0, -2).sum(-1).max()
        alone |= {name: alone[name][..., :tokens] for name in ("input_ids", "attention_mask")}
        if case == "nt":
            assert same(model(**alone).logits[0, : LENGTHS[row]], together[row, : LENGTHS[row]])
        else:
            assert same(model(**alone).logits[0], together[row])
    if CASES[case][0] is KmerBertConfig:  # the others take no positions, which padding on the left must shift
        left = inputs_for(case, "left")
        positions = (left["attention_mask"].cumsum(1) - 1).clamp(min=0)
        assert same(model(**left, position_ids=positions).logits, together)


def packed(inputs: dict[str, Tensor], rows: tuple[range, ...]) -> dict[str, Tensor]:
    """Put the sequences of each range into one row, positions starting again with each."""
    found = {"input_ids": [], "position_ids": [], "attention_mask": []}
    for row in rows:
        ids = [inputs["input_ids"][number][inputs["attention_mask"][number].bool()] for number in row]
        found["input_ids"].append(torch.cat(ids))
        found["position_ids"].append(torch.cat([torch.arange(len(each)) for each in ids]))
        found["attention_mask"].append(torch.ones_like(found["input_ids"][-1]))
    return {name: torch.nn.utils.rnn.pad_sequence(column, batch_first=True) for name, column in found.items()}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][0] is KmerBertConfig])
def test_packed_sequences_have_the_logits_and_gradients_of_separate_rows(case: str, attention: str) -> None:
    inputs, labels, results = inputs_for(case), labels_for(case), []
    for batch in (inputs, packed(inputs, (range(3), range(3, 8)))):
        model = built(case, attention)
        outputs = model(**batch, labels=labels)
        outputs.loss.backward()
        logits = outputs.logits
        if case == "nt":  # what stands beyond a sequence's end means nothing
            logits = torch.cat([row[:length] for row, length in zip(logits, LENGTHS, strict=True)])
        results.append([logits, outputs.loss, *(weight.grad for weight in model.parameters())])
    for separate, together in zip(*results, strict=True):
        assert same(separate, together, 1e-6)


@pytest.mark.parametrize("case", CASES)
def test_every_weight_is_trained_and_checkpointing_changes_nothing(case: str) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = built(case).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model(**inputs_for(case), labels=labels_for(case)).loss.backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    assert [name for name, gradient in gradients[0].items() if gradient is None] == []
    for name, gradient in gradients[0].items():
        assert same(gradient, gradients[1][name], 1e-6), name


@pytest.mark.parametrize("case", CASES)
def test_rows_without_labels_give_no_loss_and_never_nan(case: str) -> None:
    model, labels = built(case), labels_for(case)
    nothing = torch.full_like(labels, float("nan") if labels.is_floating_point() else -100)
    loss = model(**inputs_for(case), labels=nothing).loss
    loss.backward()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert loss.item() == 0 and gradients and all((gradient == 0).all() for gradient in gradients)


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][2].get("problem_type", SINGLE) == SINGLE])
def test_a_label_out_of_range_is_refused(case: str) -> None:
    labels = labels_for(case)
    labels.view(-1)[labels.view(-1) == 2] = 3
    with pytest.raises(ValueError, match=r"label 3 .* 0\.\.2"):
        built(case)(**inputs_for(case), labels=labels)


class Rows(Dataset):
    """The eight rows for the Trainer."""

    def __init__(self, case: str) -> None:
        self.columns = {**inputs_for(case), "labels": labels_for(case)}

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: column[index] for name, column in self.columns.items()}


#: Losses of masked tokens and of nucleotides, whose number differs from row to row. The other losses are slow tests.
QUICK = {"masked", "nt"}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case in QUICK else [pytest.mark.slow]) for case in [*CASES, *MASKED]]
)
def test_the_trainer_takes_the_same_step_however_it_accumulates(case: str, tmp_path: Path) -> None:
    results = []
    for size in (8, 4, 2):
        trainer = Trainer(
            built(case),
            TrainingArguments(
                output_dir=str(tmp_path),
                per_device_train_batch_size=size,
                gradient_accumulation_steps=8 // size,
                max_steps=1,
                learning_rate=0.1,
                optim="sgd",
                save_strategy="no",
                use_cpu=True,
                disable_tqdm=True,
                remove_unused_columns=False,
            ),
            train_dataset=Rows(case),
        )
        loss = trainer.train().training_loss
        results.append((loss, torch.cat([weight.detach().flatten() for weight in trainer.model.parameters()])))
    for loss, weights in results[1:]:
        assert abs(loss - results[0][0]) < 1e-5 and same(weights, results[0][1])
    labels = labels_for(case)
    whole = built(case)(**inputs_for(case), labels=labels).loss.item()  # divides by the labels that are there
    assert results[0][0] == pytest.approx(whole, abs=1e-5), "the Trainer counts the labels that are there"


@pytest.mark.parametrize("case", ["scaled", "parts_max", "tracks"])
def test_a_regression_learns_standardised_targets_and_speaks_in_their_units(case: str) -> None:
    means, stds = torch.tensor([100.0, -3.0, 0.0]), torch.tensor([20.0, 0.1, 1.0])
    model, inputs, targets = built(case), inputs_for(case), labels_for(case) * stds + means
    targets[0, 1] = targets[3] = float("nan")
    model.config.target_means = model.config.target_scales = None
    plain = model(**inputs, labels=(targets - means) / stds)
    model.config.target_means, model.config.target_scales = means.tolist(), stds.tolist()
    scaled = model(**inputs, labels=targets)
    assert same(scaled.logits, plain.logits * stds + means)
    assert scaled.loss.item() == pytest.approx(plain.loss.item(), rel=1e-4)
    known = ~targets.isnan()
    slow = [((z - (y - m) / s) ** 2).item() for row in zip(plain.logits, targets, known, strict=True)
            for z, y, there, m, s in zip(*row, means, stds, strict=True) if there]  # fmt: skip
    assert scaled.loss.item() == pytest.approx(sum(slow) / len(slow), rel=1e-4)


def test_a_scale_of_targets_that_cannot_be_is_refused() -> None:
    for settings, message in (
        ({"target_means": [1.0, 2.0, 3.0]}, "one number for each of 3 targets"),
        ({"target_means": [1.0], "target_scales": [1.0]}, "one number for each of 3 targets"),
        ({"target_means": [0, 0, 0], "target_scales": [1, 0, 1]}, "target_scales positive"),
        ({"target_means": [0, 0, 0], "target_scales": [1, 1, 1], "problem_type": SINGLE}, "are for regression"),
    ):
        with pytest.raises(ValueError, match=message):
            KmerBertConfig(**SIZES, num_labels=3, **settings)


@pytest.mark.parametrize("case", CASES)
def test_a_saved_model_loads_by_its_auto_class_and_says_the_same(case: str, tmp_path: Path) -> None:
    model, inputs = built(case), inputs_for(case)
    model.save_pretrained(tmp_path)
    auto = AutoModelForTokenClassification if case == "nt" else AutoModelForSequenceClassification
    loaded = auto.from_pretrained(tmp_path)
    assert type(loaded) is type(model) and type(AutoConfig.from_pretrained(tmp_path)) is CASES[case][0]
    assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)
    named = model(**inputs, labels=labels_for(case))
    plain = loaded(**inputs, labels=labels_for(case), return_dict=False)
    assert torch.equal(plain[0], named.loss) and torch.equal(plain[1], named.logits)


def test_logits_per_nt_are_means_over_the_kmers_that_cover_it() -> None:
    model, inputs = built("nt"), inputs_for("nt")
    model.config.labels_per = "token"
    tokens = model(**inputs).logits
    model.config.labels_per = "nt"
    found = model(**inputs).logits
    for row, length in enumerate(LENGTHS):
        kmers = tokens[row, 1 : 1 + (length - 3) // 2 + 1]  # behind [CLS]
        for nt in range(length):
            covering = [j for j in range(len(kmers)) if 2 * j <= nt < 2 * j + 3] or [len(kmers) - 1]
            assert same(found[row, nt], kmers[covering].mean(0))
    assert found.shape == (8, 30, 3), "30 nt give 14 k-mers, and so may 30 at most"


def test_per_nt_needs_to_know_the_special_tokens() -> None:
    model, inputs = built("nt"), inputs_for("nt")
    ids = inputs.pop("input_ids")
    embedded = model.get_input_embeddings()(ids)
    with pytest.raises(ValueError, match="input_ids, pass special_tokens_mask"):
        model(inputs_embeds=embedded, **inputs)
    special = (ids == 0) | (ids == 2) | (ids == 3)
    with_mask = model(inputs_embeds=embedded, special_tokens_mask=special, **inputs).logits
    assert same(with_mask, model(ids, **inputs).logits)


def test_the_second_sequence_of_a_pair_is_told_by_its_type() -> None:
    model, tokenizer = built("mean"), KmerTokenizer(3, 2)
    batch = tokenizer(["ACGTACGT"], ["TTTACGA"], return_tensors="pt", return_token_type_ids=True)
    assert batch["token_type_ids"].unique().tolist() == [0, 1]
    plain = model(batch["input_ids"]).logits
    assert not same(model(**batch).logits, plain)
    swapped = tokenizer(["TTTACGA"], ["ACGTACGT"], return_tensors="pt", return_token_type_ids=True)
    assert not same(model(**swapped).logits, model(**batch).logits)


def test_a_token_that_is_not_attended_to_changes_no_pooled_result() -> None:
    for case in ("cls", "mean", "max", "attention"):
        model, inputs = built(case), inputs_for(case)
        before = model(**inputs).logits
        inputs["input_ids"] = inputs["input_ids"].where(inputs["attention_mask"].bool(), 9)
        assert torch.equal(model(**inputs).logits, before)


def test_a_configuration_that_asks_for_tuples_gets_them(tiny_config):
    tiny_config.return_dict = False
    ids = torch.tensor([[2, *range(5, 15), 3]])
    for kind in (KmerBertForMaskedLM, KmerBertForSequenceClassification, KmerBertForTokenClassification):
        outputs = kind(tiny_config).eval()(ids)
        assert isinstance(outputs, tuple) and torch.is_tensor(outputs[0]), kind
