"""The token-classification pipeline of transformers for our models: with positions, and for models per nucleotide.

transformers' own pipeline asks only tokenizers of the Rust library for positions in the text, and expects one row of
logits per token. auto.py registers this class in its place; with other tokenizers and models it is the same pipeline.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transformers import TokenClassificationPipeline
from transformers.pipelines import PIPELINE_REGISTRY, AggregationStrategy
from transformers.utils import logging

from ..tokenization_kmer import KmerTokenizer

logger = logging.get_logger(__name__)

_TASK = "token-classification"


class DnaTokenClassificationPipeline(TokenClassificationPipeline):
    """Classify the tokens or the nucleotides of DNA.

    "start" and "end" of an entity are 0-based and half-open, in nt. With a model per nucleotide, an entity is one
    nucleotide, whose "index" is its position, or, with ``aggregation_strategy="simple"`` (or "first", "average" or
    "max", which are the same here), a run of one class.
    """

    def _sanitize_parameters(self, aggregation_strategy: Any = None, stride: Any = None, **parameters: Any) -> tuple:
        # transformers refuses both for tokenizers in Python: `stride`, and the strategies that combine the tokens of a
        # word ("first", "average", "max"). A k-mer or a nucleotide is a whole word, so these strategies mean "simple".
        if isinstance(self.tokenizer, KmerTokenizer):
            if stride is not None:
                raise ValueError("this pipeline reads one window; hf-genomics predict reads sequences of any length")
            if isinstance(aggregation_strategy, str):
                aggregation_strategy = AggregationStrategy(aggregation_strategy.lower())
            if aggregation_strategy not in (None, AggregationStrategy.NONE):
                aggregation_strategy = AggregationStrategy.SIMPLE
        return super()._sanitize_parameters(aggregation_strategy=aggregation_strategy, stride=stride, **parameters)

    def preprocess(self, sentence: Any, offset_mapping: Any = None, **preprocess_params: Any) -> Iterator[dict]:
        """Encode a sequence, with the positions of its tokens.

        Args:
            sentence: the sequence, as str.
            offset_mapping: positions of the tokens, which the tokenizer otherwise gives.
            preprocess_params: as in transformers.

        Raises:
            ValueError: if the model classifies nucleotides and the sequence contains blanks.
        """
        if not isinstance(self.tokenizer, KmerTokenizer) or not isinstance(sentence, str):
            yield from super().preprocess(sentence, offset_mapping, **preprocess_params)
            return
        if self._is_per_nt and len(sentence.split()) > 1:
            raise ValueError("a model of nucleotides takes one sequence at a time; remove the blanks in the text")
        limit = self.tokenizer.model_max_length
        whole = self.tokenizer(sentence, return_offsets_mapping=True, return_tensors="pt", verbose=False)
        if whole["input_ids"].shape[1] > limit:
            logger.warning(
                f"a sequence of {whole['input_ids'].shape[1]} tokens is truncated to the {limit} that the model reads; "
                "hf-genomics predict reads all of it, and KmerTokenizer.windows cuts it into windows"
            )
        for inputs in super().preprocess(sentence, offset_mapping, **preprocess_params):
            if offset_mapping is None:
                last = inputs["input_ids"].shape[1] - 1
                places = whole["offset_mapping"][:, : last + 1].clone()
                places[:, last] = 0  # [SEP], also after truncation
                inputs["offset_mapping"] = places
            yield inputs

    def gather_pre_entities(
        self, sentence: str, input_ids: Any, scores: Any, offset_mapping: Any, *args: Any, **kwargs: Any
    ) -> list[dict]:
        """List what is classified: tokens, as transformers does, or nucleotides.

        Args:
            sentence: the sequence.
            input_ids: ids, (tokens,).
            scores: probabilities of the classes, (tokens, classes) or (nt, classes).
            offset_mapping: positions of the tokens, (tokens, 2).
            args: as in transformers.
            kwargs: as in transformers.
        """
        if not self._is_per_nt or offset_mapping is None:
            return super().gather_pre_entities(sentence, input_ids, scores, offset_mapping, *args, **kwargs)
        covered = max((int(end) for _, end in offset_mapping), default=0)
        is_whole = len(sentence) - covered < self.model.config.stride  # the tail is too short for another k-mer
        length = min(len(scores), len(sentence) if is_whole else covered)
        return [
            {"word": letter, "scores": row, "start": position, "end": position + 1, "index": position}
            for position, (letter, row) in enumerate(zip(sentence[:length], scores[:length], strict=True))
        ]

    def group_sub_entities(self, entities: list[dict]) -> dict:
        """Merge neighbouring entities of one class.

        Args:
            entities: tokens or nucleotides of one class.
        """
        group = super().group_sub_entities(entities)
        return group | {"word": "".join(entity["word"] for entity in entities)} if self._is_per_nt else group

    @property
    def _is_per_nt(self) -> bool:
        return getattr(self.model.config, "labels_per", "token") == "nt"


def register_pipeline() -> None:
    """Register this pipeline for the task "token-classification"."""
    entry = PIPELINE_REGISTRY.supported_tasks[_TASK]
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # transformers warns that its own pipeline is replaced
    try:
        PIPELINE_REGISTRY.register_pipeline(
            _TASK, DnaTokenClassificationPipeline, entry["pt"], entry.get("default"), entry.get("type")
        )
    finally:
        logging.set_verbosity(level)
