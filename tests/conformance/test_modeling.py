"""KmerBertModel and every head pass transformers' ModelTesterMixin and TrainingTesterMixin."""

from __future__ import annotations

import unittest

import torch
from transformers_tests import test_modeling_common
from transformers_tests.test_modeling_common import ModelTesterMixin, ids_tensor, random_attention_mask
from transformers_tests.test_training_mixin import TrainingTesterMixin

from hf_genomics import (
    FusionKmerBertConfig,
    FusionKmerBertForSequenceClassification,
    HierarchicalKmerBertConfig,
    HierarchicalKmerBertForSequenceClassification,
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerBertForTokenClassification,
    KmerBertModel,
)


# The mixin gives a configuration six names of epsilons, of which ours has one; a saved configuration with a name that
# it does not know is refused.
def _set_known_epsilon(config: KmerBertConfig) -> None:
    config.layer_norm_eps = 1.0


test_modeling_common.set_config_for_less_flaky_test = _set_known_epsilon


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


class TinyHierarchy(TinyKmerBert):
    """The same, with two windows a sequence."""

    def get_config(self) -> HierarchicalKmerBertConfig:
        return HierarchicalKmerBertConfig(**_settings(super().get_config()), aggregation="transformer")

    def prepare_config_and_inputs_for_common(self) -> tuple[HierarchicalKmerBertConfig, dict[str, torch.Tensor]]:
        config, inputs = super().prepare_config_and_inputs_for_common()
        return config, {name: column.unsqueeze(1).repeat(1, 2, 1) for name, column in inputs.items()}


class TinyFusion(TinyKmerBert):
    """The same, with two numbers a sequence and one a nucleotide."""

    def get_config(self) -> FusionKmerBertConfig:
        names = {"track_names": ["openness", "age"], "nt_track_names": ["methylation"]}
        return FusionKmerBertConfig(**_settings(super().get_config()), **names)

    def prepare_config_and_inputs_for_common(self) -> tuple[FusionKmerBertConfig, dict[str, torch.Tensor]]:
        config, inputs = super().prepare_config_and_inputs_for_common()
        numbers = {"tracks": torch.rand(self.batch_size, 2), "nt_tracks": torch.rand(self.batch_size, 9, 1)}
        return config, inputs | numbers | {"input_ids": inputs["input_ids"].clamp(min=5)}  # no [SEP] among the k-mers


def _settings(config: KmerBertConfig) -> dict:
    """Give the settings of a configuration, for one that has more."""
    return {
        name: getattr(config, name)
        for name in type(config).__dataclass_fields__
        if name in KmerBertConfig.__annotations__
    }


class HierarchyConformance(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (HierarchicalKmerBertForSequenceClassification,)
    test_can_init_all_missing_weights_before_2023 = True
    test_mismatched_shapes = False  # needs an AutoModel; the encoder of a hierarchy is KmerBertModel, of another type

    def setUp(self) -> None:
        self.model_tester = TinyHierarchy()


class FusionConformance(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (FusionKmerBertForSequenceClassification,)
    test_can_init_all_missing_weights_before_2023 = True
    test_mismatched_shapes = False  # as above

    def setUp(self) -> None:
        self.model_tester = TinyFusion()

    @unittest.skip("a fusion model that is given embeddings must be told which are k-mers; the mixin cannot know")
    def test_inputs_embeds(self) -> None:
        pass

    @unittest.skip("the mixin puts an added token between k-mers, where a track per nucleotide has no place for it")
    def test_resize_tokens_embeddings(self) -> None:
        pass

    @unittest.skip("the mixin writes a number into every setting with `std` in its name, and track_stds is a list")
    def test_can_load_ignoring_mismatched_shapes(self) -> None:
        pass

    @torch.no_grad()
    def test_eager_matches_sdpa_inference_with_tracks(self) -> None:
        """Stands in for their tests of that name, which pass ids and mask only; a fusion model needs its tracks."""
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        model = FusionKmerBertForSequenceClassification._from_config(config, attn_implementation="eager").eval()
        eager = model(**inputs).logits
        model.set_attn_implementation("sdpa")
        assert torch.allclose(model(**inputs).logits, eager, atol=1e-5)


for name in dir(ModelTesterMixin):
    if name.startswith("test_eager_matches_sdpa_inference_"):
        setattr(FusionConformance, name, unittest.skip("passes ids and mask only")(getattr(ModelTesterMixin, name)))


class TinyLocal(TinyKmerBert):
    """The same, with rotary positions and a layer that sees two tokens to either side."""

    def get_config(self) -> KmerBertConfig:
        config = super().get_config()
        config.position_embedding_type, config.sliding_window = "rotary", 2
        config.layer_types = ["full_attention", "sliding_attention"]
        return config


class LocalConformance(KmerBertConformance):
    def setUp(self) -> None:
        self.model_tester = TinyLocal()
