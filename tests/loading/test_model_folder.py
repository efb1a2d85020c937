"""Model folders: what foreign or damaged files cause is one line that names the file; our own faults pass through."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedConfig

from hf_genomics import (
    InputError,
)
from hf_genomics.loading.model_folder import readable
from hf_genomics.loading.models import (
    load_classifier,
    load_config,
    load_tokenizer,
)


def with_setting(file: str, **settings: object):
    def spoil(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    return spoil


def with_content(file: str, content: bytes):
    return lambda folder: (folder / file).write_bytes(content)


def with_pickle(change):
    """Put a pickle in the place of model.safetensors; ``change`` makes its bytes from the model's weights."""

    def spoil(folder: Path) -> None:
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "saved")
        (folder / "pytorch_model.bin").write_bytes(change(model.state_dict(), (folder / "saved").read_bytes()))
        (folder / "saved").unlink()

    return spoil


def pickled(content: object) -> bytes:
    return pickle.dumps(content)


DAMAGE = {
    "config_damaged": (with_content("config.json", b"{nonsense"), "config.json"),
    "config_not_text": (with_content("config.json", b"\xff\xfe"), "config.json"),
    "config_of_a_list": (with_content("config.json", b"[]"), "config.json"),
    "classes_of_a_list": (with_setting("config.json", id2label=[]), "config.json: 'id2label'"),
    "code_of_a_number": (with_setting("config.json", auto_map=3), "config.json: 'auto_map'"),
    "number_of_labels": (with_setting("config.json", num_labels="two"), "config.json: 'num_labels'"),
    "type_of_weights": (with_setting("config.json", dtype=5), "config.json: 'dtype'"),
    "sizes_of_words": (with_setting("config.json", hidden_size="32"), "'hidden_size'"),
    "other_sizes": (with_setting("config.json", hidden_size=64), "config.json"),
    "tokenizer_of_a_list": (with_content("tokenizer_config.json", b"[]"), "tokenizer_config.json"),
    "tokens_of_a_number": (with_setting("tokenizer_config.json", mask_token=3), "tokenizer_config.json: 'mask_token'"),
    "no_letters_per_token": (with_setting("tokenizer_config.json", k=0), "tokenizer_config.json"),
    "no_stride": (with_setting("tokenizer_config.json", stride=0), "tokenizer_config.json"),
    "no_length": (with_setting("tokenizer_config.json", model_max_length=0), "tokenizer_config.json"),
    "a_length_of_nan": (with_setting("tokenizer_config.json", model_max_length=float("nan")), "tokenizer_config.json"),
    "another_tokenizer": (with_setting("tokenizer_config.json", k=4), "tokenizer_config.json"),
    "weights_empty": (with_content("model.safetensors", b""), "weights"),
    "weights_cut_short": (with_content("model.safetensors", b"\x40" + bytes(7) + b"{}"), "weights"),
    "weights_gone": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
    "pickle_of_text": (with_pickle(lambda weights, saved: b"hello"), "pytorch_model.bin"),
    "pickle_empty": (with_pickle(lambda weights, saved: b""), "pytorch_model.bin"),
    "pickle_cut_short": (with_pickle(lambda weights, saved: saved[: len(saved) // 2]), "pytorch_model.bin"),
    "pickle_of_code": (with_pickle(lambda weights, saved: pickled({"x": print})), "pytorch_model.bin"),
    "pickle_of_a_list": (with_pickle(lambda weights, saved: pickled([1, 2])), "pytorch_model.bin"),
    "pickle_of_numbers": (with_pickle(lambda weights, saved: pickled({"a": 3})), "pytorch_model.bin"),
}


@pytest.mark.parametrize(("spoil", "place"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_folder_is_an_input_error_that_names_the_file(folder: Path, spoil, place: str) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=re.escape(str(folder)) + ".*" + re.escape(place)) as caught:
        load_classifier(str(folder))
        load_tokenizer(str(folder))
    assert "\n" not in str(caught.value)


def test_a_pickle_of_plain_weights_is_loaded(folder: Path) -> None:
    with_pickle(lambda weights, saved: saved)(folder)
    model, tokenizer = load_classifier(str(folder))
    assert model.config.k == tokenizer.k == 3


def test_a_pickle_with_a_head_for_other_classes_is_not_called_damaged(folder: Path) -> None:
    with_pickle(lambda weights, saved: saved)(folder)
    with_setting("config.json", id2label={str(number): str(number) for number in range(3)}, label2id={})(folder)
    with pytest.raises(InputError, match=r"config\.json") as caught:
        load_classifier(str(folder))
    assert "pytorch_model.bin" not in str(caught.value)


def test_a_full_memory_is_not_blamed_on_a_pickle(folder: Path) -> None:
    with_pickle(lambda weights, saved: saved)(folder)
    with pytest.raises(torch.OutOfMemoryError), readable(str(folder)):
        raise torch.OutOfMemoryError("full")


def test_a_file_a_folder_of_something_else_and_nothing_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, part in (("file", "is a file"), (".", "config.json"), ("none", "no such folder")):
        with pytest.raises(InputError, match=part):
            load_config(str(tmp_path / name))


def test_a_misspelt_path_is_reported_with_a_close_name_and_the_hub_is_not_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(name: str) -> None:
        asked.append(name)
        raise OSError("no network")

    monkeypatch.setattr(PreTrainedConfig, "get_config_dict", ask)
    monkeypatch.chdir(folder.parent.parent)
    (folder.parent / "models").mkdir()  # without config.json, so no model
    home = folder.parent.name
    for name, part in {
        f"{home}/modell": f"did you mean {home}/model?",
        f"./{home}/modell": f"did you mean {home}/model?",
        f"{folder}l": f"did you mean {folder}?",
        "model_cards/virus-wid": "did you mean model_cards/virus-wide?",
        f"{home}/else": "check the path",
        "/gone/away": "check the path",
        "./gone": "check the path",
    }.items():
        with pytest.raises(InputError, match="no such folder") as caught:
            load_config(name)
        assert part in str(caught.value) and str(caught.value).startswith(name)
    assert not asked
    for name, knows_ours in (("owner-of-x/model", False), ("gone", True)):
        with pytest.raises(InputError, match="on the Hub") as caught:
            load_config(name)
        assert ("virus-wide" in str(caught.value)) is knows_ours
    assert asked == ["owner-of-x/model", "gone"]


@pytest.mark.parametrize("kind", [AttributeError, TypeError, KeyError, IndexError, AssertionError, RuntimeError])
def test_what_our_own_code_raises_passes_through(folder: Path, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught, readable(str(folder)):
        raise kind("ours")
    assert not isinstance(caught.value, InputError)
