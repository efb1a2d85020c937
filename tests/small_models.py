"""Tiny model folders and adapters, to be damaged by tests of bad inputs."""

from __future__ import annotations

import functools
import json
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
LABELS = {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}, "problem_type": "single_label_classification"}


@functools.cache
def _written(head: str) -> tempfile.TemporaryDirectory:
    """Write a model of 3-mers and two classes, and its tokenizer, once."""
    import hf_genomics as hg

    folder = tempfile.TemporaryDirectory(prefix="small_model_")
    config = hg.KmerBertConfig(k=3, max_position_embeddings=64, **SIZES, **LABELS)
    for part in (getattr(hg, head)(config), hg.KmerTokenizer(k=3, model_max_length=64)):
        part.save_pretrained(folder.name)
    return folder


def saved_model(folder: Path, name: str = "model", head: str = "KmerBertForSequenceClassification") -> Path:
    """Write a model of 3-mers and two classes, and its tokenizer, and return their folder."""
    return Path(shutil.copytree(_written(head).name, folder / name))


def saved_adapter(folder: Path, **changes: Any) -> Path:
    """Write the model ``base`` and a LoRA of it as peft saves one, with some settings changed."""
    import torch
    from safetensors.torch import save_file

    saved_model(folder, "base")
    adapter = folder / "adapter"
    adapter.mkdir()
    layer = "base_model.model.bert.encoder.layer.0.attention.self.query"
    save_file(
        {f"{layer}.lora_A.weight": torch.eye(2, 32), f"{layer}.lora_B.weight": 5 * torch.eye(32, 2)},
        adapter / "adapter_model.safetensors",
        {"format": "pt"},
    )
    settings = {"peft_type": "LORA", "base_model_name_or_path": "base", "target_modules": ["query"], "r": 2}
    (adapter / "adapter_config.json").write_text(json.dumps(settings | {"lora_alpha": 2} | changes))
    return adapter


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
