"""Models on another device than the CPU: nothing of a forward or backward pass stays behind.

Tensors without content on the device "meta" stand for those of an accelerator: torch refuses to mix devices as it does
there. What depends on content (how long the windows of a row are) is given on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from packaging.version import Version
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

import hf_genomics as hg
from hf_genomics.attention_kmer_bert import Grouped, Layout, Packed, attention_layout, varlen_attn

SIZES = {"k": 3, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
LENGTHS = [9, 5, 2]
POSITIONS = torch.cat([torch.arange(length) for length in LENGTHS])[None]
ROW = tuple(POSITIONS.shape)
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
NEAR = {"position_embedding_type": "rotary", "sliding_window": 3, "layer_types": ["sliding_attention"]}


def values(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def model_of(kind: type, settings: dict[str, Any]) -> torch.nn.Module:
    """Build a model on the other device."""
    config_class: Any = kind.config_class
    with torch.device("meta"):  # BERT's start: the other one looks at the embeddings that it has drawn
        return kind(config_class(**SIZES | settings, initialisation="bert")).train()


def encoder_of(settings: dict[str, Any]) -> torch.nn.Module:
    """Build an encoder on the other device, without a pooler that no test here reads."""
    return model_of(hg.KmerBertForMaskedLM, settings).bert


def check_gradients(model: torch.nn.Module) -> None:
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.device.type == "meta", name


def learn_packed(model: torch.nn.Module, layout: Layout) -> None:
    """Embed a row, attend by a layout, and go back; the loss reads every state."""
    hidden = model.embeddings(values(*ROW), None, None, None)
    rotary = model.rotary_embeddings(hidden, POSITIONS.to("meta"))
    states = model.encoder(hidden, layout, position_embeddings=rotary)
    assert states.device.type == "meta"
    states.sum().backward()
    check_gradients(model)


@pytest.mark.parametrize("settings", [NO_DROPOUT, NO_DROPOUT | NEAR, {}], ids=["plain", "near", "dropout"])
def test_groups_of_packed_windows_are_learnt_on_one_device(settings: dict) -> None:
    model = encoder_of(settings)
    layout = attention_layout(model.config, values(*ROW, 32, dtype=torch.float32), None, POSITIONS)
    assert isinstance(layout, Grouped) and layout.places.device.type == "meta"
    learn_packed(model, layout)


@pytest.mark.skipif(Version(torch.__version__) < Version("2.13"), reason="this torch compares no devices")
def test_a_tensor_that_stays_behind_is_noticed() -> None:
    model = encoder_of(NO_DROPOUT)
    layout = attention_layout(model.config, values(*ROW, 32, dtype=torch.float32), None, POSITIONS)
    with pytest.raises(RuntimeError, match="device"):
        learn_packed(model, layout._replace(places=layout.places.new_zeros(ROW[1], device="cpu")))


@pytest.mark.skipif(varlen_attn is None, reason="this torch has no variable-length kernel")
@pytest.mark.parametrize("settings", [NO_DROPOUT, NO_DROPOUT | NEAR], ids=["plain", "near"])
def test_the_variable_length_kernel_gets_all_on_one_device(settings: dict) -> None:
    ends = torch.tensor([0, *LENGTHS], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    learn_packed(encoder_of(settings), Packed(LENGTHS, ends.to("meta"), max(LENGTHS), "varlen"))


def train(kind: type, settings: dict[str, Any], **inputs: tuple[int, ...] | Callable[[], Tensor]) -> None:
    """Train for a step, as a graph is recorded: content is unknown; a shape stands for integers."""
    # A mask of unknown content picks an unknown number of values.
    unknown = ShapeEnv(allow_scalar_outputs=True, allow_dynamic_output_shape_ops=True)
    with FakeTensorMode(shape_env=unknown, allow_non_fake_inputs=True):
        model = model_of(kind, settings)
        outputs = model(**{name: given() if callable(given) else values(*given) for name, given in inputs.items()})
        assert outputs.logits.device.type == "meta"
        outputs.loss.backward()
        check_gradients(model)


@pytest.mark.parametrize("settings", [NO_DROPOUT, NO_DROPOUT | NEAR, {"sparse_prediction": False}])
def test_packed_windows_are_learnt_behind_masks_on_one_device(settings: dict) -> None:
    columns = ("input_ids", "labels", "attention_mask", "position_ids")
    train(hg.KmerBertForMaskedLM, settings, **dict.fromkeys(columns, ROW))


SEVERAL = {"num_labels": 3, "class_weights": [1.0, 2.0, 3.0], "focal_gamma": 2.0}
TARGETS = {"num_labels": 2, "problem_type": "regression", "target_means": [1.0, 2.0], "target_scales": [3.0, 4.0]}
TRACKS = {"track_names": ["a", "b"], "nt_track_names": ["c"], "num_labels": 2}
SEQUENCES, TOKENS = hg.KmerBertForSequenceClassification, hg.KmerBertForTokenClassification
FUSION, PARTS = hg.FusionKmerBertForSequenceClassification, hg.HierarchicalKmerBertForSequenceClassification


def reals(*shape: int) -> Callable[[], Tensor]:
    return partial(values, *shape, dtype=torch.float32)


@pytest.mark.parametrize(
    ("kind", "settings", "inputs"),
    [
        (hg.KmerBertForMaskedLM, {"position_embedding_type": "sinusoidal"}, {"labels": (2, 9)}),
        (SEQUENCES, SEVERAL | {"classifier_pooling": "cls"}, {"labels": (2,)}),
        (SEQUENCES, SEVERAL | {"classifier_pooling": "max"}, {"labels": reals(2, 3)}),
        (SEQUENCES, TARGETS | {"classifier_pooling": "attention"}, {"labels": reals(2, 2)}),
        (TOKENS, {"labels_per": "nt"}, {"labels": (2, 9)}),
        (FUSION, TRACKS, {"tracks": reals(2, 2), "nt_tracks": reals(2, 11, 1)}),
        (PARTS, {"aggregation": "transformer"}, {"input_ids": (2, 3, 9), "attention_mask": (2, 3, 9)}),
    ],
)
def test_every_head_learns_on_one_device(kind: type, settings: dict, inputs: dict) -> None:
    train(kind, settings | NO_DROPOUT, **{"input_ids": (2, 9), "attention_mask": (2, 9), "labels": (2,)} | inputs)
