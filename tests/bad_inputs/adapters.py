"""Adapter folders of peft."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

from small_models import saved_adapter, saved_model

from .case import Case

FILE = "adapter/adapter_config.json"
PREDICT = "predict --model adapter --input TABLE --output out.tsv"
MERGE = "convert --source adapter --output_dir merged"


def with_settings(**changes: object) -> Callable[[Path], object]:
    """Return what writes an adapter with other settings."""
    return lambda folder: saved_adapter(folder, **changes)


def with_bytes(name: str, content: bytes | None) -> Callable[[Path], object]:
    """Return what writes an adapter one of whose files has another content, or is missing."""

    def make(folder: Path) -> None:
        path = saved_adapter(folder) / name
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    return make


def on_an_encoder(folder: Path) -> None:
    """Write an adapter of a model without a fine-tuned head."""
    saved_adapter(folder)
    shutil.rmtree(folder / "base")
    saved_model(folder, "base", "KmerBertForMaskedLM")


def on_an_adapter(folder: Path) -> None:
    """Write an adapter of an adapter."""
    adapter = saved_adapter(folder)
    shutil.rmtree(folder / "base")
    shutil.copytree(adapter, folder / "base")


def on_larger_models(folder: Path) -> None:
    """Write an adapter with the shapes of another model."""
    import torch
    from safetensors.torch import load_file, save_file

    path = saved_adapter(folder) / "adapter_model.safetensors"
    save_file({key: torch.cat([weight, weight]) for key, weight in load_file(path).items()}, path, {"format": "pt"})


def of_whole_numbers(folder: Path) -> None:
    """Write an adapter of integers."""
    from safetensors.torch import load_file, save_file

    path = saved_adapter(folder) / "adapter_model.safetensors"
    save_file({key: weight.int() for key, weight in load_file(path).items()}, path, {"format": "pt"})


def without_a_weight(folder: Path) -> None:
    """Write an adapter that lacks one weight."""
    from safetensors.torch import load_file, save_file

    path = saved_adapter(folder) / "adapter_model.safetensors"
    weights = load_file(path)
    weights.popitem()
    save_file(weights, path, {"format": "pt"})


CASES: dict[str, Case] = {
    "damaged_settings": Case(PREDICT, (FILE,), with_bytes("adapter_config.json", b"{")),
    "settings_are_a_list": Case(PREDICT, (FILE, "list"), with_bytes("adapter_config.json", b"[1]")),
    "no_base": Case(PREDICT, (FILE, "base_model_name_or_path"), with_settings(base_model_name_or_path=None)),
    "base_is_a_number": Case(PREDICT, (FILE, "base_model_name_or_path", "7"), with_settings(base_model_name_or_path=7)),
    "base_has_moved": Case(PREDICT, (FILE, "/runs/gone"), with_settings(base_model_name_or_path="/runs/gone")),
    "base_is_relative_to_another_place": Case(PREDICT, (FILE, "x"), with_settings(base_model_name_or_path="x")),
    "no_kind": Case(PREDICT, (FILE, "peft_type"), with_settings(peft_type=None)),
    "kind_is_a_list": Case(PREDICT, (FILE, "peft_type"), with_settings(peft_type=["LORA"])),
    "rank_is_text": Case(PREDICT, (FILE, "'r'", "two"), with_settings(r="two")),
    "rank_is_true": Case(PREDICT, (FILE, "'r'", "true"), with_settings(r=True)),
    "settings_are_nested": Case(PREDICT, (FILE, "levels"), with_bytes("adapter_config.json", b'{"r":' + b"[" * 10**5)),
    "alpha_is_nan": Case(PREDICT, (FILE, "NaN"), with_settings(lora_alpha=float("nan"))),
    "base_is_missing": Case(PREDICT, (FILE, "base_model_name_or_path"), with_settings(base_model_name_or_path="")),
    "base_name_is_too_long": Case(PREDICT, (FILE, "base model"), with_settings(base_model_name_or_path="a" * 5000)),
    "base_is_a_list": Case(PREDICT, (FILE, "base_model_name"), with_settings(base_model_name_or_path=["base"])),
    "rank_pattern_is_a_list": Case(PREDICT, (FILE, "rank_pattern"), with_settings(rank_pattern=[1])),
    "no_weights": Case(PREDICT, ("adapter_model.safetensors",), with_bytes("adapter_model.safetensors", None)),
}
if importlib.util.find_spec("peft"):
    CASES |= {
        "adapter_of_an_adapter": Case(PREDICT, (FILE, "base", "convert"), on_an_adapter),
        "adapter_of_an_encoder": Case(PREDICT, ("adapter", "base", "save_pretrained"), on_an_encoder),
        "unknown_kind": Case(PREDICT, (FILE, "WONDER"), with_settings(peft_type="WONDER")),
        "rank_of_zero": Case(PREDICT, (FILE, "`r`", "0"), with_settings(r=0)),
        "rank_beyond_memory": Case(PREDICT, (FILE, "'r'", "100000000"), with_settings(r=10**8)),
        "rank_beyond_memory_merged": Case(MERGE, (FILE, "'r'"), with_settings(r=2**40)),
        "rank_pattern_beyond_memory": Case(PREDICT, (FILE, "query"), with_settings(rank_pattern={"query": 10**9})),
        "layers_that_are_not_there": Case(PREDICT, (FILE,), with_settings(layer_replication=[[0, 10**9]])),
        "tokens_that_are_not_there": Case(PREDICT, (FILE,), with_settings(trainable_token_indices=[10**9])),
        "modules_are_no_pattern": Case(PREDICT, (FILE,), with_settings(target_modules="((")),
        "unknown_setting_before_an_error": Case(PREDICT, (FILE, "`r`"), with_settings(wonder=1, r=0)),
        "weights_are_whole_numbers": Case(PREDICT, ("adapter_model.safetensors", "I32"), of_whole_numbers),
        "unknown_modules": Case(PREDICT, (FILE, "q_proj"), with_settings(target_modules=["q_proj"])),
        "other_modules": Case(PREDICT, ("adapter", "base", "key.lora_A"), with_settings(target_modules=["key"])),
        "shapes_of_another_model": Case(PREDICT, ("adapter", "base", "sizes"), on_larger_models),
        "missing_weight": Case(PREDICT, ("adapter", "base", "missing"), without_a_weight),
        "damaged_weights": Case(PREDICT, ("adapter_model.safetensors",), with_bytes("adapter_model.safetensors", b"x")),
        "evaluated_without_a_base": Case(
            "evaluate --model adapter --data.test TABLE --output_dir out",
            (FILE, "/gone"),
            with_settings(base_model_name_or_path="/gone"),
        ),
        "merged_without_a_base": Case(MERGE, (FILE, "/gone"), with_settings(base_model_name_or_path="/gone")),
        "predicted_over_its_base": Case(
            f"{PREDICT.replace('out.tsv', 'base/config.json')} --overwrite true",
            ("base/config.json", "read"),
            saved_adapter,
        ),
        "predicted_over_its_weights": Case(
            f"{PREDICT.replace('out.tsv', 'adapter/adapter_model.safetensors')} --overwrite true",
            ("adapter/adapter_model.safetensors", "read"),
            saved_adapter,
        ),
        "evaluated_into_its_folder": Case(
            "evaluate --model adapter --data.test TABLE --output_dir adapter --overwrite true",
            ("adapter", "holds a model", "adapter/evaluation"),
            saved_adapter,
        ),
        "fine_tuned": Case(
            "finetune --pretrained adapter --data.train TABLE --trainer.output_dir out",
            ("adapter", "base", MERGE.replace("merged", "NEW")),
            saved_adapter,
            remedy=MERGE,
        ),
    }
