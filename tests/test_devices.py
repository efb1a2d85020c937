"""Models on another device than the CPU: nothing of a forward or backward pass stays behind.

Tensors without content on the device "meta" stand for those of an accelerator: torch refuses to mix devices as it does
there. How long the windows of a row are cannot be read off such tensors, so that is told.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.fx.experimental.symbolic_shapes import ShapeEnv

import hf_genomics as hg
import hf_genomics.attention_kmer_bert as routes
from hf_genomics import dropout

SIZES = {"k": 3, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
LENGTHS = [9, 5, 2]
ROW = (1, sum(LENGTHS))


def values(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def train(kind: type, settings: dict[str, Any], **inputs: tuple[int, ...] | Callable[[], Tensor]) -> None:
    """Train for a step on the other device; a shape stands for whole numbers."""
    # A mask of unknown content picks an unknown number of values.
    unknown = ShapeEnv(allow_scalar_outputs=True, allow_dynamic_output_shape_ops=True)
    with FakeTensorMode(shape_env=unknown, allow_non_fake_inputs=True):
        config_class: Any = kind.config_class
        with torch.device("meta"):  # BERT's start: the other looks at the embeddings that it has drawn
            model = kind(config_class(**SIZES | settings, initialisation="bert")).train()
        outputs = model(**{name: given() if callable(given) else values(*given) for name, given in inputs.items()})
        assert outputs.logits.device.type == "meta"
        outputs.loss.backward()
        for name, weight in model.named_parameters():
            assert weight.grad is not None and weight.grad.device.type == "meta", name


def pack(monkeypatch: pytest.MonkeyPatch, route: str) -> None:
    """Have rows attended to as packed ones of LENGTHS, in one of the ways of an accelerator."""
    grouped = routes.group_windows(LENGTHS)

    def group_windows(lengths: list[int]) -> routes.Grouped:
        with unset_fake_temporarily():  # it works on the CPU, with numbers, and what it gives is moved
            return routes.Grouped(grouped.places.clone(), grouped.shapes)

    for module in (routes, dropout):
        monkeypatch.setattr(module, "is_tracing", lambda *_: False)
    monkeypatch.setattr(routes, "find_packed_sequence_indices", lambda positions: positions)
    monkeypatch.setattr(routes, "window_lengths", lambda *_: LENGTHS)
    monkeypatch.setattr(routes, "group_windows", group_windows)
    monkeypatch.setattr(routes, "_window_kernel", lambda *_: None if route == "masks" else route)


NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
NEAR = {"position_embedding_type": "rotary", "attention_window": 3, "global_attention_every": None}


@pytest.mark.parametrize("settings", [NO_DROPOUT, NO_DROPOUT | NEAR, {"sparse_prediction": False}])
@pytest.mark.parametrize("route", ["varlen", "groups", "masks"])
def test_packed_windows_are_learnt_on_one_device(route: str, settings: dict, monkeypatch) -> None:
    if route == "varlen" and routes.varlen_attn is None:
        pytest.skip("this torch has no variable-length kernel")
    pack(monkeypatch, route)
    train(hg.KmerBertForMaskedLM, settings, input_ids=ROW, labels=ROW, attention_mask=ROW, position_ids=ROW)


SEVERAL = {"num_labels": 3, "class_weights": [1.0, 2.0, 3.0], "focal_gamma": 2.0}
TARGETS = {"num_labels": 2, "problem_type": "regression", "target_means": [1.0, 2.0], "target_scales": [3.0, 4.0]}
TRACKS = {"track_names": ["a", "b"], "nt_track_names": ["c"], "num_labels": 2}
SEQUENCES, TOKENS = hg.KmerBertForSequenceClassification, hg.KmerBertForTokenClassification
FUSION = hg.FusionKmerBertForSequenceClassification


def reals(*shape: int) -> Callable[[], Tensor]:
    return partial(values, *shape, dtype=torch.float32)


@pytest.mark.parametrize(
    ("kind", "settings", "inputs"),
    [
        (hg.KmerBertForMaskedLM, {"position_embedding_type": "sinusoidal"}, {"labels": (2, 9)}),
        (SEQUENCES, SEVERAL | {"pooling": "cls"}, {"labels": (2,)}),
        (SEQUENCES, SEVERAL | {"pooling": "max"}, {"labels": reals(2, 3)}),
        (SEQUENCES, TARGETS | {"pooling": "attention"}, {"labels": reals(2, 2)}),
        (TOKENS, {"labels_per": "nt"}, {"labels": (2, 9)}),
        (FUSION, TRACKS, {"tracks": reals(2, 2), "nt_tracks": reals(2, 11, 1)}),
    ],
)
def test_every_head_learns_on_one_device(kind: type, settings: dict, inputs: dict, monkeypatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # labels have no content that could be checked
    train(kind, settings | NO_DROPOUT, **{"input_ids": (2, 9), "attention_mask": (2, 9), "labels": (2,)} | inputs)


def test_a_tensor_that_stays_behind_is_noticed(monkeypatch) -> None:
    pack(monkeypatch, "groups")
    monkeypatch.setattr(routes.Grouped, "_replace", lambda grouped, **_: grouped)
    with pytest.raises(RuntimeError, match="device"):
        train(hg.KmerBertForMaskedLM, NO_DROPOUT, input_ids=ROW, labels=ROW, position_ids=ROW)
