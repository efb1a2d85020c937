"""Tiny model folders, to be damaged by tests of bad inputs."""

from __future__ import annotations

import functools
import json
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@functools.cache
def _tuned() -> Path:
    """Write a fine-tuned model of two classes once."""
    from hf_genomics import KmerBertConfig, KmerBertForSequenceClassification, KmerTokenizer

    folder = Path(tempfile.mkdtemp(prefix="tuned"))
    names = {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}, "problem_type": "single_label_classification"}
    config = KmerBertConfig(k=3, max_position_embeddings=64, **SIZES, **names)
    KmerBertForSequenceClassification(config).save_pretrained(folder)
    KmerTokenizer(k=3).save_pretrained(folder)
    return folder


def tuned_copy(work: Path) -> Path:
    """Copy a fine-tuned model to the folder ``model``, and return that folder."""
    return Path(shutil.copytree(_tuned(), work / "model"))


def change_json(path: Path, **fields: object) -> None:
    """Set fields of a JSON file; a field that is set to None is deleted."""
    content = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


def replace(path: Path, old: bytes, new: bytes) -> None:
    """Replace the first occurrence of some bytes of a file."""
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def split_weights(folder: Path) -> Path:
    """Split the weights of a model into the files a and b, and return their index."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    halves = {"a.safetensors": names[: len(names) // 2], "b.safetensors": names[len(names) // 2 :]}
    for file, inside in halves.items():
        save_file({name: tensors[name] for name in inside}, folder / file, metadata={"format": "pt"})
    places = {name: file for file, inside in halves.items() for name in inside}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index


def change_header(data: bytes, change: Callable[[dict], object]) -> bytes:
    """Change the header of a safetensors file."""
    length = struct.unpack("<Q", data[:8])[0]
    entries = json.loads(data[8 : 8 + length])
    change(entries)
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def overlap(entries: dict) -> None:
    """Let two tensors of the same size share their bytes."""
    same: dict[tuple, list[str]] = {}
    for name, entry in entries.items():
        if name != "__metadata__":
            same.setdefault((entry["dtype"], *entry["shape"]), []).append(name)
    first, second = next(names for names in same.values() if len(names) > 1)[:2]
    entries[second]["data_offsets"] = entries[first]["data_offsets"]
