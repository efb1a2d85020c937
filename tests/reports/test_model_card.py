"""A card says what the records of a run say, in the form that the Hub reads."""

from __future__ import annotations

import json

import pytest
import yaml
from transformers import AutoTokenizer

from hf_genomics import KmerBertForMaskedLM, KmerBertForSequenceClassification, KmerTokenizer
from hf_genomics.errors import InputError
from hf_genomics.reports.model_card import read_records, render_card

TEST = {"accuracy": 0.75, "macro_recall": 0.7, "f1": 0.0, "mcc": None, "auroc": 0.8123}
METRICS = {
    "train_runtime": 7200.0,
    "test": TEST,
    "baselines": {"majority": {**TEST, "accuracy": 0.5}, "4-mer logistic regression": TEST},
    "leaks": {"train/test": 12, "valid/test": 0},
}
RUN = {
    "verb": "finetune",
    "command": "hf-genomics finetune --config x.yaml",
    "versions": {"torch": "2.13.0"},
    "hardware": "2 CPU threads (EPYC)",
    "base_model": "user/base",
    "data": {
        "splits": {
            "train": {
                "file": "t.csv",
                "sequences": 1200,
                "nt": 180000,
                "classes": {"a": 700, "b": 500},
                "sha256": "f" * 64,
            },
            "test": {"file": "e.csv", "sequences": 10, "nt": 1500, "sha256": "0" * 64},
        }
    },
    "training": {"steps": 500, "learning_rate": 1e-4, "seed": 42},
}


@pytest.fixture
def tuned(tiny_config, tmp_path):
    """A folder of a fine-tuned model with the records of its run."""
    tiny_config.id2label = {0: "a", 1: "b"}
    KmerBertForSequenceClassification(tiny_config).save_pretrained(tmp_path / "model")
    KmerTokenizer(3).save_pretrained(tmp_path / "model")
    for name, content in (("metrics", METRICS), ("run", RUN)):
        (tmp_path / "model" / f"{name}.json").write_text(json.dumps(content))
    return tmp_path / "model"


def metadata(card: str) -> dict:
    """Read the block of YAML at the beginning of a card."""
    return yaml.safe_load(card.split("---\n")[1])


def test_the_hub_gets_task_base_model_licence_and_scores(tuned):
    found = metadata(render_card(read_records(tuned, "user/model"), license="mit"))
    assert found["library_name"] == "transformers" and found["pipeline_tag"] == "text-classification"
    assert found["base_model"] == "user/base" and found["license"] == "mit"
    (result,) = found["model-index"][0]["results"]
    assert {each["type"]: each["value"] for each in result["metrics"]} == {
        k: v for k, v in TEST.items() if v is not None
    }


def test_a_folder_as_base_model_is_no_name_on_the_hub(tuned):
    (tuned / "run.json").write_text(json.dumps({**RUN, "base_model": "pretrained"}))
    card = render_card(read_records(tuned))
    assert "base_model" not in metadata(card) and "| base model | pretrained |" in card


def test_model_and_baselines_stand_side_by_side_and_a_missing_score_is_a_dash(tuned):
    lines = render_card(read_records(tuned)).splitlines()
    assert "| model | accuracy | macro recall | F1 | AUROC |" in lines
    assert "| this model | 0.750 | 0.700 | 0.000 | 0.812 |" in lines
    assert "| majority | 0.500 | 0.700 | 0.000 | 0.812 |" in lines


def test_data_leaks_command_and_machine_are_told(tuned):
    card = render_card(read_records(tuned))
    for text in (
        "a 700, b 500",
        "train/test 12",
        "ffffffffffffffff",
        "| hours | 2.000 |",
        RUN["command"],
        RUN["hardware"],
    ):
        assert text in card
    assert "valid/test" not in card


def test_hours_are_those_of_all_runs_and_settings_have_all_their_digits(tuned):
    settings = {"learning_rate": 1.5e-3, "weight_decay": 0.01, "epochs": 20.305, "seed": 42}
    (tuned / "run.json").write_text(json.dumps(RUN | {"training": settings}))
    (tuned / "metrics.json").write_text(json.dumps(METRICS | {"train_hours": 3.25}))
    card = render_card(read_records(tuned))
    for row in ("| hours | 3.250 |", "| learning rate | 0.0015 |", "| weight decay | 0.01 |", "| epochs | 20.305 |"):
        assert row in card


def test_a_pretrained_model_gets_its_masking_and_validation(tiny_config, tmp_path):
    KmerBertForMaskedLM(tiny_config).save_pretrained(tmp_path)
    KmerTokenizer(3).save_pretrained(tmp_path)
    numbers = {"masking": "spans of 3 tokens", "num_input_tokens_seen": 110453, "eval_loss": 7.9, "eval_runtime": 1.5}
    (tmp_path / "metrics.json").write_text(json.dumps(numbers))
    card = render_card(read_records(tmp_path))
    assert metadata(card)["pipeline_tag"] == "fill-mask" and "model-index" not in metadata(card)
    for text in ("| masking | spans of 3 tokens |", "| tokens seen | 110,453 |", "| loss | 7.900 |"):
        assert text in card
    assert "runtime" not in card


def test_a_folder_without_records_gets_a_card_that_says_so(tiny_config, tmp_path):
    KmerBertForMaskedLM(tiny_config).save_pretrained(tmp_path)
    KmerTokenizer(3).save_pretrained(tmp_path)
    card = render_card(read_records(tmp_path))
    assert card.count("run.json") == 2 and "Not scored" in card


def test_the_example_of_a_card_runs(tuned):
    card = render_card(read_records(tuned, str(tuned)))
    code = card.split("```python\n")[1].split("```")[0]
    names: dict = {}
    exec(code, names)
    assert names["logits"].shape == (1, 2) and isinstance(
        names["tokenizer"], type(AutoTokenizer.from_pretrained(tuned))
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics", "{"),
        ("run", "[]"),
        ("config", "1"),
        ("metrics", '{"privacy": {"epsilon": 1}}'),
        ("metrics", '{"privacy": {"epsilon": "low"}}'),
        ("metrics", '{"test": {}, "baselines": {"majority": null}}'),
        ("run", '{"data": {"splits": {"train": null}}}'),
        ("run", '{"data": {"files": [1]}}'),
        ("run", '{"data": {"files": [{}]}}'),
        ("run", '{"data": {"files": [{"file": "a.fa"}]}}'),
    ],
)
def test_a_damaged_record_is_named(tuned, name, content):
    (tuned / f"{name}.json").write_text(content)
    with pytest.raises(InputError, match=rf"{name}\.json"):
        read_records(tuned)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json"):
        read_records(tmp_path)
