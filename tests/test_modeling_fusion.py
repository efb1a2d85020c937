"""Sequence and tracks: what a missing value means, what is standardised, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hf_genomics import (
    FusionKmerBertConfig,
    FusionKmerBertForSequenceClassification,
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerTokenizer,
)
from hf_genomics.modeling_fusion import standardise

NAN = float("nan")
TRACKS = {"track_names": ["a", "b"], "track_means": [1.0, -2.0], "track_stds": [2.0, 0.5]}
SIGNALS = {"nt_track_names": ["s"], "nt_track_means": [0.5], "nt_track_stds": [0.1]}


def built(tiny_config: KmerBertConfig, **values: object) -> FusionKmerBertForSequenceClassification:
    sizes = {name: value for name, value in tiny_config.to_diff_dict().items() if name in KmerBertConfig().to_dict()}
    for name in ("model_type", "transformers_version"):
        sizes.pop(name, None)
    torch.manual_seed(0)
    model = FusionKmerBertForSequenceClassification(FusionKmerBertConfig(**{**sizes, **values})).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


@pytest.fixture
def batch() -> dict[str, Tensor]:
    tokens = KmerTokenizer(3)(["ACGTACGTAC", "TTACG"], padding=True, return_tensors="pt")
    tracks, signal = torch.tensor([[2.0, NAN], [0.0, 1.0]]), torch.linspace(0, 1, 20).view(2, 10, 1).clone()
    signal[1, 5:] = NAN
    return {**tokens, "tracks": tracks, "nt_tracks": signal}


def test_missing_values_count_as_the_mean_and_are_told_apart() -> None:
    values = torch.tensor([[1.0, -2.0], [3.0, NAN], [NAN, -1.0]])
    found = standardise(values, [1.0, -2.0], [2.0, 0.5])
    assert found.tolist() == [[0, 0, 0, 0], [1, 0, 0, 1], [0, 2, 1, 0]]
    assert torch.equal(standardise(values, None, None)[:1, :2], values[:1])


def test_what_lies_beyond_a_sequence_and_missing_values_never_make_nan(tiny_config, batch) -> None:
    model = built(tiny_config, **TRACKS, **SIGNALS)
    logits = model(**batch).logits
    assert logits.isfinite().all()
    batch["nt_tracks"][1, 5:] = 100.0  # no k-mer of the second sequence reaches there
    assert torch.equal(model(**batch).logits, logits)
    batch["nt_tracks"][:], batch["tracks"][:] = NAN, NAN
    assert model(**batch).logits.isfinite().all()


def test_every_value_of_a_track_matters_and_to_its_sequence_only(tiny_config, batch) -> None:
    model = built(tiny_config, **TRACKS, **SIGNALS)
    before = model(**batch).logits
    for name, place in (("tracks", (0, 0)), ("nt_tracks", (0, 9, 0)), ("tracks", (0, 1)), ("nt_tracks", (0, 0, 0))):
        changed = {**batch, name: batch[name].clone()}
        changed[name][place] = 3.0
        moved = (model(**changed).logits - before).abs().amax(1)
        assert moved[0] > 1e-4 and moved[1] == 0, name


def test_tracks_may_be_whole_numbers(tiny_config, batch) -> None:
    model = built(tiny_config, **TRACKS, **SIGNALS)
    counts = {"tracks": torch.tensor([[3, 1], [0, 2]]), "nt_tracks": torch.arange(20).view(2, 10, 1)}
    floats = {name: values.float() for name, values in counts.items()}
    assert torch.equal(model(**batch | counts).logits, model(**batch | floats).logits)


def test_a_missing_value_is_not_a_mean_value(tiny_config, batch) -> None:
    model = built(tiny_config, **TRACKS)
    batch.pop("nt_tracks")
    before = model(**batch).logits
    batch["tracks"][0, 1] = -2.0
    assert (model(**batch).logits[0] - before[0]).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["tracks", "nt_tracks"])
def test_values_far_from_zero_are_told_apart_in_half_precision(name: str, tiny_config) -> None:
    kind = name.removesuffix("s")
    model = built(tiny_config, **{f"{kind}_names": ["a"], f"{kind}_means": [1e5], f"{kind}_stds": [1.0]}).bfloat16()
    tokens = KmerTokenizer(3)(["ACGTACGTAC"] * 2, return_tensors="pt")
    values = torch.tensor([1e5 - 1, 1e5 + 1]).view((2, 1) if name == "tracks" else (2, 1, 1))
    logits = model(**tokens, **{name: values if name == "tracks" else values.expand(2, 10, 1)}).logits
    assert logits.isfinite().all() and not torch.equal(logits[0], logits[1])


def test_statistics_are_saved_with_the_model(tiny_config, batch, tmp_path: Path) -> None:
    model = built(tiny_config, **TRACKS, **SIGNALS)
    model.save_pretrained(tmp_path)
    loaded = FusionKmerBertForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(loaded(**batch).logits, model(**batch).logits)
    loaded.config.nt_track_means = [0.7]
    assert not torch.equal(loaded(**batch).logits, model(**batch).logits)


def test_fine_tuning_starts_from_the_pretrained_encoder(tiny_config, tmp_path: Path) -> None:
    pretrained = KmerBertForMaskedLM(tiny_config)
    pretrained.save_pretrained(tmp_path)
    config = FusionKmerBertConfig.from_pretrained(tmp_path, **TRACKS, **SIGNALS)
    model = FusionKmerBertForSequenceClassification.from_pretrained(tmp_path, config=config)
    encoder = model.bert.state_dict()
    for name, weight in pretrained.bert.state_dict().items():
        assert torch.equal(encoder[name], weight), name
    dense = model.fusion.dense.weight
    assert abs(dense.std().item() - 0.02) < 2e-3, "the rest starts as BERT's"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tracks": None}, r"tracks must be \(batch, tracks\) of \['a', 'b'\], not none"),
        ({"tracks": torch.zeros(2, 3)}, r"tracks must be .* not \(2, 3\)"),
        ({"nt_tracks": torch.zeros(2, 10)}, r"nt_tracks must be \(batch, nt, tracks\) of \['s'\], not \(2, 10\)"),
        ({"nt_tracks": torch.zeros(2, 9, 1)}, "9 nt, .* 10"),
        ({"position_ids": torch.arange(10)[None]}, "position_ids"),
    ],
)
def test_tracks_that_do_not_fit_are_refused(change: dict, message: str, tiny_config, batch) -> None:
    with pytest.raises(ValueError, match=message):
        built(tiny_config, **TRACKS, **SIGNALS)(**{**batch, **change})


def test_tracks_for_a_model_without_any_are_refused(tiny_config, batch) -> None:
    with pytest.raises(ValueError, match="nt_tracks must be .* the model has none"):
        built(tiny_config, **TRACKS)(**batch)


@pytest.mark.parametrize(
    "values",
    [
        {"track_names": ["a"], "track_means": [1.0, 2.0]},
        {"nt_track_names": ["a"], "nt_track_stds": [0.0]},
        {"fusion_layers": -1},
    ],
)
def test_statistics_that_mean_nothing_are_refused(values: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        FusionKmerBertConfig(**values)
