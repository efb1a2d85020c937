"""Whole model folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from small_models import change_json, saved_model

from .case import Case

CASES: dict[str, Case] = {}


def without_weights(*names: str) -> Callable[[Path], object]:
    """Return what writes a fine-tuned model whose file of weights lacks those whose names begin so."""
    from small_models import saved_model

    def make(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        path = saved_model(folder) / "model.safetensors"
        kept = {key: weight for key, weight in load_file(path).items() if not key.startswith(names)}
        save_file(kept, path, {"format": "pt"})

    return make


_PREDICT = "predict --model model --input TABLE --output out.tsv"
CASES |= {
    "weights_without_a_classifier": Case(_PREDICT, ("model", "classifier"), without_weights("classifier")),
    "weights_without_a_pooler": Case(_PREDICT, ("model", "pooler"), without_weights("bert.pooler")),
    "weights_without_a_layer": Case(_PREDICT, ("model", "layer.0"), without_weights("bert.encoder.layer.0")),
    "evaluated_without_a_classifier": Case(
        "evaluate --model model --data.test TABLE --output_dir out",
        ("model", "classifier"),
        without_weights("classifier"),
    ),
}


def _adapter(folder: Path) -> None:
    """Write an adapter without a base model's config.json beside it, as peft saves one."""
    from small_models import saved_adapter

    saved_adapter(folder)


def _with_record(name: str, text: str) -> Callable[[Path], object]:
    """Return what writes a fine-tuned model with a record of its run."""
    from small_models import saved_model

    return lambda folder: (saved_model(folder) / name).write_text(text)


def _deleted(name: str) -> Callable[[Path], object]:
    """Return what deletes a file of the model."""
    return lambda folder: (folder / "model" / name).unlink()


CASES |= {
    "an_adapter_to_push": Case(
        "push --model adapter --name a/b --dry_run true",
        ("adapter is an adapter", "hf-genomics convert --source adapter --output_dir NEW"),
        _adapter,
        remedy="convert --source adapter --output_dir NEW",
    ),
    "an_adapter_to_describe": Case(
        "card adapter",
        ("adapter is an adapter", "hf-genomics convert"),
        _adapter,
        remedy="convert --source adapter --output_dir NEW",
    ),
    "a_name_of_three_parts": Case(
        "push --model model --name a/b/c --dry_run true", ("name", "'a/b/c'", "user/model"), _with_record("x", "")
    ),
    "a_name_that_leads_upwards": Case(
        "push --model model --name ../x --dry_run true", ("name", "'../x'"), _with_record("x", "")
    ),
    "no_card_to_push": Case(
        "push --model model --name a/b --dry_run true",
        ("README.md", "hf-genomics card model"),
        _with_record("x", ""),
        remedy="card model",
    ),
    "scores_that_are_a_list": Case(
        "card model",
        ("metrics.json", "'test'"),
        _with_record("metrics.json", '{"test": [1]}'),
        repair=_deleted("metrics.json"),
    ),
    "a_field_of_another_type_to_describe": Case(
        "card model",
        ("model/config.json", "'architectures'", "[1]"),
        lambda folder: change_json(saved_model(folder) / "config.json", architectures=[1]),
    ),
    "a_record_of_a_number": Case(
        "card model", ("run.json", "'data'"), _with_record("run.json", '{"data": 3}'), repair=_deleted("run.json")
    ),
    "a_split_that_is_text": Case(
        "card model", ("run.json", "'data.splits.*'"), _with_record("run.json", '{"data": {"splits": {"test": "x"}}}')
    ),
    "privacy_without_its_delta": Case(
        "card model",
        ("metrics.json", "'privacy'", "'delta'"),
        _with_record("metrics.json", '{"privacy": {"epsilon": 3}}'),
        repair=_deleted("metrics.json"),
    ),
    "a_file_without_its_hash": Case(
        "card model",
        ("run.json", "'data.files.*'", "'sha256'"),
        _with_record("run.json", '{"data": {"files": [{"file": "x.fa"}]}}'),
        repair=_deleted("run.json"),
    ),
    "files_by_name_only": Case(
        "card model", ("run.json", "'data.files.*'"), _with_record("run.json", '{"data": {"files": ["x.fa"]}}')
    ),
    "a_card_that_is_not_ours": Case(
        "card model",
        make=_with_record("README.md", "# My thesis\n"),
        code=0,
        warned=("README.md", "README.before.md"),
        leaves=("model/README.before.md",),
    ),
}
