"""Whole model folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
