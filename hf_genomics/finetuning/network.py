"""Build the network of a fine-tuning run: a new head on the weights to start from."""

from __future__ import annotations

import logging
from typing import Any

from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, PreTrainedModel

from ..configuration_kmer_bert import KmerBertConfig
from ..errors import InputError
from ..loading.models import encoder_misfit, load_complete
from .head import Head
from .trained_weights import choose_trained

logger = logging.getLogger(__name__)


def build_classifier(
    pretrained: str,
    config: KmerBertConfig,
    pretrained_config: KmerBertConfig,
    attention: str,
    *,
    from_scratch: bool,
    head_seed: int = 0,
) -> PreTrainedModel:
    """Build a model with a new head on a pretrained encoder, or on an encoder with random weights.

    Args:
        pretrained: folder or Hub name of the pretrained model.
        config: configuration of the new model; its number of positions is changed while saved positions are loaded.
        pretrained_config: configuration of the pretrained model.
        attention: name of the attention backend, such as "sdpa".
        from_scratch: initialise all weights at random instead of loading them.
        head_seed: seed of the weights that the pretrained model does not have.

    Raises:
        InputError: if weights of the encoder are missing, or do not have the sizes that config.json requires.
    """
    auto = _auto(config)
    if from_scratch:
        return auto.from_config(config, attn_implementation=attention)
    # ignore_mismatched_sizes: a head for other classes is replaced by a new one.
    options: dict[str, Any] = {"attn_implementation": attention, "ignore_mismatched_sizes": True}
    options["head_seed"] = head_seed
    if (
        config.position_embedding_type == "absolute"
        and config.max_position_embeddings != pretrained_config.max_position_embeddings
    ):
        # The model is built with as many positions as were saved, so that they can be loaded; from_pretrained then
        # interpolates them to the new number.
        options["stretch_positions"] = config.max_position_embeddings
        config.max_position_embeddings = pretrained_config.max_position_embeddings
    network, info = load_complete(auto, pretrained, config=config, **options)
    if misfit := encoder_misfit(info):
        name, found, expected = misfit
        raise InputError(f"{pretrained}: {name} is {found}, but by config.json {expected}; correct config.json")
    if new := sorted({*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])}):
        logger.info("new weights, not taken from %s: %s", pretrained, _layers_of(new))
    return network


def _layers_of(weights: list[str]) -> str:
    """Return the layers of weights, at most five of them.

    >>> _layers_of(["bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.weight"])
    'bert.pooler.dense, classifier'
    """
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in weights))
    return ", ".join(layers[:5]) + (f" and {len(layers) - 5} more" if len(layers) > 5 else "")


def build_unloaded(config: KmerBertConfig, head: Head, pretrained: str, seed: int) -> Any:
    """Build a model with random weights, of which some may be frozen; for LoRA, ``pretrained`` names the base model."""
    return choose_trained(_auto(config).from_config(config), head, pretrained, seed)[0]


def _auto(config: KmerBertConfig) -> Any:
    """Return the Auto class that builds the model of a configuration."""
    return AutoModelForTokenClassification if config.labels_per == "nt" else AutoModelForSequenceClassification
