"""Make a model with twice as many layers from a pretrained one, from which pretraining can go on.

    python benchmarks/deeper.py --model model_cards/virus-wide --output runs/virus-wide-6-layers

Behind every layer comes a copy of it whose two output projections are zero, so that at first it adds nothing. The
deeper model begins with nearly the loss of the other one; the command prints both, for random DNA. They are not quite
equal, because each of the two layer norms of a new layer normalises again what is already normalised. Their weights and
biases are therefore fitted to return what they receive, as closely as one slope and offset per dimension can.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerTokenizer


def random_batch(tokenizer: KmerTokenizer, config: KmerBertConfig, rows: int = 64) -> torch.Tensor:
    """Draw random DNA as token ids, (rows, tokens)."""
    random = np.random.default_rng(0)
    length = config.k + config.stride * (config.max_position_embeddings - 3)
    texts = ["".join(random.choice(list("ACGT"), length)) for _ in range(rows)]
    return tokenizer(texts, return_tensors="pt")["input_ids"]


def fit_identity(norm: nn.LayerNorm, hidden: torch.Tensor) -> torch.Tensor:
    """Set weight and bias of a layer norm so that it returns what it receives, by least squares per dimension.

    Args:
        norm: the layer norm, which is changed.
        hidden: what it receives, (tokens, hidden size).

    Returns:
        What it returns.
    """
    normed = nn.functional.layer_norm(hidden, hidden.shape[-1:])
    centred = normed - normed.mean(0)
    slope = (centred * (hidden - hidden.mean(0))).sum(0) / (centred**2).sum(0)
    norm.weight.data.copy_(slope)
    norm.bias.data.copy_(hidden.mean(0) - slope * normed.mean(0))
    return norm(hidden)


def idle_copy(layer: nn.Module, hidden: torch.Tensor) -> nn.Module:
    """Copy a layer so that the copy adds nothing to what the layer returns.

    Args:
        layer: a layer of the encoder.
        hidden: what it returns, (tokens, hidden size).
    """
    added = copy.deepcopy(layer)
    for block in (added.attention.output, added.output):
        nn.init.zeros_(block.dense.weight)
        nn.init.zeros_(block.dense.bias)
        hidden = fit_identity(block.LayerNorm, hidden)
    return added


@torch.no_grad()
def deepened(model: KmerBertForMaskedLM, ids: torch.Tensor) -> KmerBertForMaskedLM:
    """Return a model with an idle copy behind every layer of a model."""
    states = model(ids, output_hidden_states=True).hidden_states[1:]
    config = copy.deepcopy(model.config)
    config.num_hidden_layers *= 2
    deeper = KmerBertForMaskedLM(config)
    layers = []
    for layer, state in zip(model.bert.encoder.layer, states, strict=True):
        layers += [copy.deepcopy(layer), idle_copy(layer, state.flatten(0, 1))]
    deeper.bert.encoder.layer.load_state_dict(nn.ModuleList(layers).state_dict())
    others = {name: value for name, value in model.state_dict().items() if not name.startswith("bert.encoder.layer.")}
    deeper.load_state_dict(others, strict=False)
    deeper.tie_weights()
    return deeper.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    tokenizer = KmerTokenizer.from_pretrained(arguments.model)
    model = KmerBertForMaskedLM.from_pretrained(arguments.model).eval()
    ids = random_batch(tokenizer, model.config)
    deeper = deepened(model, ids)
    masked, labels = ids.clone(), torch.full_like(ids, -100)
    masked[:, 6::7], labels[:, 6::7] = tokenizer.mask_token_id, ids[:, 6::7]
    with torch.no_grad():
        before, after = (float(one(masked, labels=labels).loss) for one in (model, deeper))
    print(
        f"loss on random DNA: {before:.4f} with {model.config.num_hidden_layers} layers, {after:.4f} with twice as many"
    )
    deeper.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)


if __name__ == "__main__":
    main()
