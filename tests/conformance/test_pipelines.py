"""Our heads pass transformers' PipelineTesterMixin in the four pipelines that take text, on raw DNA.

Its source release omits the checks of each pipeline's results; `Checks` below takes their place.
"""

from __future__ import annotations

import unittest

import pytest
import transformers_tests.test_pipeline_mixin as theirs
from test_modeling import TinyKmerBert
from transformers import Pipeline, PreTrainedModel, pipeline

import hf_genomics
from hf_genomics import (
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerBertForTokenClassification,
    KmerBertModel,
    KmerTokenizer,
)


class Checks:
    """Checks of what a pipeline returns for DNA."""

    task: str
    examples = ["ACGTTGATTTNACCGGATATTACG", "ggattacagattacaacgt", "ACG CGT GTT"]

    def get_test_pipeline(self, model: PreTrainedModel, tokenizer: KmerTokenizer, dtype: str) -> tuple:
        return pipeline(self.task, model, tokenizer=tokenizer, dtype=dtype), self.examples

    def run_pipeline_test(self, run: Pipeline, examples: list[str]) -> None:
        one, several = run(examples[0]), run(examples)
        assert len(several) == len(examples)
        self.check(run, examples[0], one)
        self.check(run, examples[-1], several[-1])


class FeatureExtractionChecks(Checks):
    task = "feature-extraction"

    def check(self, run: Pipeline, text: str, found: list) -> None:
        assert len(found[0]) == len(run.tokenizer(text)["input_ids"]) and len(found[0][0]) == 32


class FillMaskChecks(Checks):
    task = "fill-mask"
    examples = ["ACG CGT [MASK] TTG", "[MASK] TTG TGA", "ACG [MASK]"]

    def check(self, run: Pipeline, text: str, found: list) -> None:
        assert len(found) == 5 and {*found[0]} == {"sequence", "score", "token", "token_str"}
        assert run(text, targets=["ACG", "TTT"])[0]["token_str"] in ("ACG", "TTT")
        with pytest.raises(Exception, match="No mask_token"):
            run("ACG CGT")


class TextClassificationChecks(Checks):
    task = "text-classification"

    def check(self, run: Pipeline, text: str, found: dict | list) -> None:
        (best,) = found if isinstance(found, list) else [found]
        assert best["label"] in run.model.config.label2id and 0.5 <= best["score"] <= 1


class TokenClassificationChecks(Checks):
    task = "token-classification"

    def check(self, run: Pipeline, text: str, found: list) -> None:
        kmers = len(run.tokenizer(text)["input_ids"]) - 2
        assert len(found) == kmers and {cell["entity"] for cell in found} <= {*run.model.config.label2id}


HEADS = {
    FeatureExtractionChecks: KmerBertModel,
    FillMaskChecks: KmerBertForMaskedLM,
    TextClassificationChecks: KmerBertForSequenceClassification,
    TokenClassificationChecks: KmerBertForTokenClassification,
}


@pytest.fixture(scope="class")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Save a tiny model of each head where the mixin looks for those on the Hub, and send it to the checks here."""
    folder = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theirs, "TRANSFORMERS_TINY_MODEL_PATH", str(folder))
        patch.setattr(theirs, "transformers_module", hf_genomics)
        summary = {}
        for checks, head in HEADS.items():
            here = folder / "kmer_bert" / head.__name__
            head(TinyKmerBert().get_config()).save_pretrained(here)
            KmerTokenizer(k=3).save_pretrained(here)
            summary[head.__name__] = {"tokenizer_classes": ["KmerTokenizer"], "processor_classes": []}
            patch.setitem(theirs.pipeline_test_mapping, checks.task, {"test": f"{__name__}.{checks.__name__}"})
        patch.setattr(theirs, "tiny_model_summary", summary)
        yield


@pytest.mark.usefixtures("tiny_models")
class KmerBertPipelines(theirs.PipelineTesterMixin, unittest.TestCase):
    pipeline_model_mapping = {checks.task: head for checks, head in HEADS.items()}


# Images, sound and generated text do not concern an encoder of DNA; the mixin would skip each of these tests.
for name in dir(KmerBertPipelines):
    task = name.removeprefix("test_pipeline_").removesuffix("_fp16").replace("_", "-")
    if name.startswith("test_pipeline_") and task not in KmerBertPipelines.pipeline_model_mapping:
        setattr(KmerBertPipelines, name, None)
