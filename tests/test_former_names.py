"""Settings under their names of version 0.1: saved folders load silently, users are told today's name."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
import transformers
from test_golden import fill
from torch import Tensor

import hf_genomics as hg
from hf_genomics.configuration_kmer_bert import RENAMED, current_settings, default_layer_types

GOLDEN = json.loads((Path(__file__).parent / "golden" / "configs_0_1.json").read_text())["cases"]
FORMER = {*RENAMED, "global_attention_every"}


def inputs_for(settings: dict) -> dict[str, Tensor]:
    """Make the two sequences of the golden file, in the form that a saved configuration asks for."""
    ids = torch.tensor([[2, *range(5, 33, 3), 3], [2, *range(60, 32, -3), 3]])
    inputs = {"input_ids": ids[:, None].expand(2, 2, -1) if "num_windows" in settings else ids}
    if settings.get("track_names"):
        inputs["tracks"] = torch.tensor([[1.0, 0.5], [2.0, float("nan")]])
    if settings.get("nt_track_names"):
        inputs["nt_tracks"] = torch.arange(48.0).view(2, 24, 1) / 10
    return inputs


def load(folder: Path) -> torch.nn.Module:
    """Load a folder by the Auto class of its architecture; a warning is an error."""
    settings = json.loads((folder / "config.json").read_text())
    name = next(
        auto for auto, kind in settings["auto_map"].items() if kind.endswith("." + settings["architectures"][0])
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return getattr(transformers, name).from_pretrained(folder)


@pytest.mark.parametrize("case", GOLDEN)
def test_a_folder_saved_by_version_0_1_loads_silently_to_the_same_model(case: str, tmp_path: Path) -> None:
    settings, expected = GOLDEN[case]["config"], GOLDEN[case]["output"]
    kind = getattr(hg, settings["architectures"][0])
    fill(kind(kind.config_class(**current_settings(settings)))).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(settings))
    model = load(tmp_path)
    with torch.no_grad():
        found = model(**inputs_for(settings))[0].flatten().tolist()
    assert found[:4] + found[-4:] == pytest.approx(expected, abs=2e-4)
    model.save_pretrained(tmp_path / "again")
    saved = json.loads((tmp_path / "again" / "config.json").read_text())
    assert FORMER.isdisjoint(saved) and saved["position_embedding_type"] != "learned"
    assert load(tmp_path / "again").config.to_diff_dict() == model.config.to_diff_dict()


@pytest.mark.parametrize(
    ("former", "today"),
    [
        ({"attention_window": 8}, {"sliding_window": 8, "layer_types": default_layer_types(12)}),
        (
            {"attention_window": 8, "global_attention_every": 2, "num_hidden_layers": 3},
            {"sliding_window": 8, "layer_types": ["full_attention", "sliding_attention", "full_attention"]},
        ),
        (
            {"attention_window": 8, "global_attention_every": None, "num_hidden_layers": 2},
            {"sliding_window": 8, "layer_types": ["sliding_attention", "sliding_attention"]},
        ),
        ({"global_attention_every": 2}, {"sliding_window": None, "layer_types": None}),
        ({"pooling": "mean"}, {"classifier_pooling": "mean"}),
        ({"window_length": 150}, {"max_sequence_length": 150}),
        ({"num_windows": 5}, {"num_parts": 5}),
        ({"window_layers": 1}, {"part_layers": 1}),
        ({"position_embedding_type": "learned"}, {"position_embedding_type": "absolute"}),
    ],
)
@pytest.mark.parametrize("way", ["constructor", "from_pretrained"])
def test_a_former_argument_works_and_the_warning_names_the_one_of_today(way, former, today, tmp_path: Path) -> None:
    kind = hg.HierarchicalKmerBertConfig
    kind(num_hidden_layers=former.get("num_hidden_layers", 12)).save_pretrained(tmp_path)
    with pytest.warns(FutureWarning) as warned:
        config = kind(**former) if way == "constructor" else kind.from_pretrained(tmp_path, **former)
    assert {name: getattr(config, name) for name in today} == today
    said = " ".join(str(warning.message) for warning in warned)
    assert all(name in said for name in former if name != "num_hidden_layers")
    assert any(name in said for name in today)
    assert way != "constructor" or {warning.filename for warning in warned} == {__file__}, "points at the user's line"


def test_of_two_names_todays_counts() -> None:
    with pytest.warns(FutureWarning, match="classifier_pooling"):
        assert hg.KmerBertConfig(pooling="max", classifier_pooling="mean").classifier_pooling == "mean"


def test_a_former_value_that_was_impossible_still_is() -> None:
    with pytest.raises(ValueError, match="global_attention_every .* not -1"):
        hg.KmerBertConfig(attention_window=4, global_attention_every=-1)


def test_former_attributes_read_and_set_those_of_today() -> None:
    config = hg.HierarchicalKmerBertConfig(num_parts=3)
    config.pooling = "mean"
    assert (config.classifier_pooling, config.num_windows) == ("mean", 3)
    assert not hasattr(hg.KmerBertConfig(), "num_windows")
