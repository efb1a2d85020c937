"""Writes the small models and adapters that cases spoil."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
LABELS = {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}, "problem_type": "single_label_classification"}


def saved_model(folder: Path, name: str = "model", head: str = "KmerBertForSequenceClassification") -> Path:
    """Write a model of 3-mers and its tokenizer, and return their folder."""
    import hf_genomics as hg

    config = hg.KmerBertConfig(k=3, max_position_embeddings=64, **SIZES, **LABELS)
    for part in (getattr(hg, head)(config), hg.KmerTokenizer(k=3, model_max_length=64)):
        part.save_pretrained(folder / name)
    return folder / name


def saved_adapter(folder: Path, **changes: Any) -> Path:
    """Write the model ``base`` and a LoRA of it as peft saves one, with some settings changed."""
    import torch
    from safetensors.torch import save_file

    saved_model(folder, "base")
    adapter = folder / "adapter"
    adapter.mkdir()
    layer = "base_model.model.bert.encoder.layer.0.attention.self.query"
    save_file(
        {f"{layer}.lora_A.weight": torch.eye(2, 16), f"{layer}.lora_B.weight": 5 * torch.eye(16, 2)},
        adapter / "adapter_model.safetensors",
        {"format": "pt"},
    )
    settings = {"peft_type": "LORA", "base_model_name_or_path": "base", "target_modules": ["query"], "r": 2}
    (adapter / "adapter_config.json").write_text(json.dumps(settings | {"lora_alpha": 2} | changes))
    return adapter


def changed(path: Path, **values: Any) -> None:
    """Change values of a JSON file; None removes a value."""
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
