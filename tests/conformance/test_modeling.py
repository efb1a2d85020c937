"""KmerBertModel and every head pass transformers' ModelTesterMixin and TrainingTesterMixin."""

from __future__ import annotations

import unittest

import torch
from transformers_tests.test_modeling_common import ModelTesterMixin, ids_tensor, random_attention_mask
from transformers_tests.test_training_mixin import TrainingTesterMixin

from hf_genomics import (
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerBertForTokenClassification,
    KmerBertModel,
)


class TinyKmerBert:
    """Draws tiny models and inputs, under the names that the mixins ask for."""

    batch_size, seq_length, is_training = 13, 7, True
    hidden_size, num_hidden_layers, num_attention_heads = 32, 2, 4

    def get_config(self) -> KmerBertConfig:
        return KmerBertConfig(
            k=3,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=37,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            max_position_embeddings=128,
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[KmerBertConfig, dict[str, torch.Tensor]]:
        shape = [self.batch_size, self.seq_length]
        config = self.get_config()
        return config, {
            "input_ids": ids_tensor(shape, config.vocab_size),
            "attention_mask": random_attention_mask(shape),
        }


class KmerBertConformance(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (
        KmerBertModel,
        KmerBertForMaskedLM,
        KmerBertForSequenceClassification,
        KmerBertForTokenClassification,
    )
    test_can_init_all_missing_weights_before_2023 = True  # run it: our file has no year of copyright to go by

    def setUp(self) -> None:
        self.model_tester = TinyKmerBert()


class Overfits(TrainingTesterMixin):
    """A head learns a fixed batch by heart."""

    head: type

    @property
    def model_tester(self) -> TinyKmerBert:
        return TinyKmerBert()

    def _get_trainable_model_class(self) -> type:
        return self.head


class MaskedLMOverfits(Overfits, unittest.TestCase):
    head = KmerBertForMaskedLM


class SequenceClassificationOverfits(Overfits, unittest.TestCase):
    head = KmerBertForSequenceClassification

    def _create_text_training_batch(self, batch_size: int, seq_length: int, vocab_size: int) -> dict:
        batch = super()._create_text_training_batch(batch_size, seq_length, vocab_size)
        return {**batch, "labels": torch.ones(batch_size, dtype=torch.long)}


class TokenClassificationOverfits(Overfits, unittest.TestCase):
    head = KmerBertForTokenClassification

    def _create_text_training_batch(self, batch_size: int, seq_length: int, vocab_size: int) -> dict:
        batch = super()._create_text_training_batch(batch_size, seq_length, vocab_size)
        return {**batch, "labels": batch["input_ids"] % 2}
