"""KmerBertConfig passes transformers' ConfigTester."""

from __future__ import annotations

import unittest

from transformers_tests.test_configuration_common import ConfigTester

from hf_genomics import KmerBertConfig


class KmerBertConfigConformance(unittest.TestCase):
    def test_common_properties_serialisation_and_labels(self):
        ConfigTester(self, config_class=KmerBertConfig, k=3, hidden_size=32, num_attention_heads=4).run_common_tests()
