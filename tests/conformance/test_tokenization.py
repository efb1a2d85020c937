"""KmerTokenizer passes transformers' TokenizerTesterMixin for k 3 and 6, side by side and overlapping."""

from __future__ import annotations

import unittest
from types import CodeType

from transformers_tests.test_tokenization_common import TokenizerTesterMixin

from hf_genomics import KmerTokenizer

# Sentences in their tests whose tokens are counted. Most English words are shorter than a k-mer and give no token.
SENTENCES = (
    "Test this method.",
    "This is a test sequence",
    "This is another sentence to be encoded.",
    "With these inputs and some extra tokens here.",
    " UN Chief Says",
    " Secretary-General Ban",
    "Şeful ONU",
    "Secretarul General",
)


def in_dna(constant: object) -> object:
    """Turn a sentence into DNA of the same length, and return every other constant unchanged."""
    if isinstance(constant, tuple):
        return tuple(map(in_dna, constant))
    if isinstance(constant, CodeType):
        return constant.replace(co_consts=in_dna(constant.co_consts))
    if isinstance(constant, str) and constant.startswith(SENTENCES):
        return "".join("ACGT"[ord(letter) % 4] for letter in constant)
    return constant


class DnaTesterMixin(TokenizerTesterMixin):
    """Their tests on tokenizers saved to a folder, with DNA instead of English."""

    tokenizer_class = KmerTokenizer
    k, stride = 6, 1

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        KmerTokenizer(cls.k, cls.stride).save_pretrained(cls.tmpdirname)

    def get_input_output_texts(self, tokenizer: KmerTokenizer) -> tuple[str, str]:
        return "ACGTTGCATTACGGATCC", "ACGTTGCATTACGGATCC"

    def test_conversion_reversible(self) -> None:
        """Run their test, which they skip because it is slow for other tokenizers."""
        super().test_conversion_reversible.__wrapped__(self)


for test in vars(TokenizerTesterMixin).values():
    if hasattr(test, "__code__"):
        test.__code__ = in_dna(test.__code__)


class K3Stride1(DnaTesterMixin, unittest.TestCase):
    k, stride = 3, 1


class K3Stride3(DnaTesterMixin, unittest.TestCase):
    k, stride = 3, 3


class K6Stride1(DnaTesterMixin, unittest.TestCase):
    k, stride = 6, 1


class K6Stride3(DnaTesterMixin, unittest.TestCase):
    k, stride = 6, 3


del DnaTesterMixin, TokenizerTesterMixin  # otherwise pytest would collect the mixins themselves
