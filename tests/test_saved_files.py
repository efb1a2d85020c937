"""Files of a saved model: JSON with limits, indices that stay in their folder, headers of weight files."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from small_models import saved_model, split_weights
from transformers import AutoModel

from hf_genomics.saved_files import (
    StoredTensor,
    check_shards,
    check_tensors,
    depth_of,
    read_index,
    read_json,
    read_tensors,
    weight_files,
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a": 1, "a": 2}', "'a' is given twice"),
        (b'{"a": {"b": 1, "b": 1}}', "'b' is given twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": [-1e999]}', "-1e999 is too large"),
        (b"[" * 100_000, "nested"),
        (b'{"a": ' * 40 + b"1" + b"}" * 40, "nested"),
        (b"1" * 5000, "digits"),
        (b"[]", "holds a list"),
        (b"null", "holds a NoneType"),
        (b"", "not a valid JSON file"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ("{}".encode("utf-16"), "UTF-8"),
        (b"{}" + b" " * 100, "more than 50 bytes"),
    ],
)
def test_json_from_anybody_is_refused_with_its_file_and_the_reason(text: bytes, reason: str, tmp_path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=reason) as error:
        read_json(path, most_bytes=50 if "bytes" in reason else 10**6)
    assert str(error.value).startswith(str(path))


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_good_json_is_read_as_python_reads_it(content) -> None:
    from hf_genomics.saved_files import parse_json

    def depth(value) -> int:
        inner = list(value.values()) if isinstance(value, dict) else value
        return 1 + max(map(depth, inner), default=0) if isinstance(value, dict | list) else 0

    assert parse_json(json.dumps(content), "x") == content
    assert depth_of(content) == depth(content)


@pytest.mark.parametrize(
    "name", ["../../x.safetensors", "/x.safetensors", "a/x.safetensors", "", "..", "x.py", "a\\b.bin"]
)
def test_an_index_that_leaves_its_folder_is_refused_before_anything_is_opened(name: str, tmp_path, monkeypatch) -> None:
    index = split_weights(saved_model(tmp_path))
    content = json.loads(index.read_text())
    content["weight_map"]["x"] = name
    index.write_text(json.dumps(content))
    monkeypatch.setattr("safetensors.safe_open", None)
    with pytest.raises(ValueError, match="is not the name of a file in this folder"):
        AutoModel.from_pretrained(index.parent)


def test_links_are_followed_in_the_cache_of_the_hub_only(tmp_path) -> None:
    index = split_weights(saved_model(tmp_path))
    check_shards(index.parent)
    assert set(read_index(index)) == {"a.safetensors", "b.safetensors"}
    snapshot = tmp_path / "models--x--y" / "snapshots" / "1"
    (tmp_path / "models--x--y" / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for file in index.parent.iterdir():
        blob = file.rename(tmp_path / "models--x--y" / "blobs" / f"blob-{file.name}")
        (snapshot / file.name).symlink_to(blob)
    check_shards(snapshot)
    assert [file.name for file in weight_files(snapshot)] == ["a.safetensors", "b.safetensors"]
    (snapshot / "b.safetensors").unlink()
    (tmp_path / "b.safetensors").write_bytes(b"")
    (snapshot / "b.safetensors").symlink_to(tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="link out of this folder"):
        check_shards(snapshot)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_header_is_refused_wherever_the_library_refuses_it(data, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file({"a": torch.zeros(2, 3), "b": torch.ones(4, dtype=torch.int8)}, path, metadata={"format": "pt"})
    good = path.read_bytes()
    assert {name: tensor.shape for name, tensor in read_tensors(path).items()} == {"a": (2, 3), "b": (4,)}
    at = data.draw(st.integers(0, len(good) - 1))
    byte = bytes([data.draw(st.integers(0, 255))])
    changed = data.draw(st.sampled_from([good[:at], good[:at] + byte + good[at + 1 :], good + byte]))
    path.write_bytes(changed)
    try:
        with safe_open(path, "pt") as file:
            names = set(file.keys())
    except (SafetensorError, OSError):
        with pytest.raises(ValueError, match="model.safetensors"):
            read_tensors(path)
    else:
        try:
            assert set(read_tensors(path)) == names
        except ValueError as error:  # stricter: a key twice
            assert "damaged" in str(error)


def test_a_repeated_key_is_found_among_a_hundred_thousand_without_comparing_every_pair(tmp_path) -> None:
    keys = [*range(100_000), 99_999]
    (tmp_path / "x.json").write_text("{" + ", ".join(f'"{key}": 1' for key in keys) + "}")
    with pytest.raises(ValueError, match="'99999' is given twice"):
        read_json(tmp_path / "x.json")


def test_a_damaged_header_names_its_file_and_the_remedy_once(tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes((9).to_bytes(8, "little") + b"not JSON!")
    with pytest.raises(ValueError, match="not that of a safetensors file") as error:
        read_tensors(path)
    assert str(error.value).count(str(path)) == 1 and str(error.value).count("copy or save") == 1


def test_weights_of_whole_numbers_are_refused_as_such(tmp_path) -> None:
    tensor = StoredTensor(tmp_path / "model.safetensors", "I64", (2,))
    with pytest.raises(ValueError, match="type I64, not floating-point"):
        check_tensors([("a", tensor)], {"a": (2,)}, "model.safetensors")
