"""Replace two pipelines of transformers by pipelines that can use our models.

transformers' own token-classification pipeline finds the positions of tokens only with tokenizers of the Rust library,
and expects one row of logits per token, while some of our models return one per nucleotide. Neither of its pipelines
reads a sequence longer than the model's input, or feeds a model that reads sequences in parts
(modeling_hierarchical.py). auto.py registers the classes of this file instead; with other tokenizers and models they do
the same as those of transformers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import TextClassificationPipeline, TokenClassificationPipeline
from transformers.pipelines import PIPELINE_REGISTRY, AggregationStrategy
from transformers.pipelines.text_classification import ClassificationFunction
from transformers.utils import logging

from ..configuration_kmer_bert import FusionKmerBertConfig, HierarchicalKmerBertConfig
from ..sequence import NUM_SPECIAL, as_letters
from ..tokenization_kmer import KmerTokenizer

logger = logging.get_logger(__name__)

_PLAIN = "a sequence that is read in windows or parts must be one str without blanks, not a pair or a text of k-mers"


class DnaTextClassificationPipeline(TextClassificationPipeline):
    """Classify DNA.

    With ``windows=True``, sequences may have any length: they are cut into windows that the model can read, and the
    probabilities (or values) of the windows are averaged, as `predict` does. Models that read sequences in parts always
    read them so.
    """

    def _sanitize_parameters(self, windows: bool | None = None, **parameters: Any) -> tuple:
        before, during, after = super()._sanitize_parameters(**parameters)
        return before if windows is None else before | {"windows": windows}, during, after

    def preprocess(self, inputs: Any, windows: bool = False, **preprocess_params: Any) -> dict[str, Any]:
        """Encode a sequence, or take its letters if it is to be cut into windows.

        Args:
            inputs: the sequence, as str; without windows also what transformers takes.
            windows: whether to cut it.
            preprocess_params: as in transformers.

        Raises:
            ValueError: if the model reads tracks, or the input is a pair or a text of k-mers and would have to be cut.
        """
        if not isinstance(self.tokenizer, KmerTokenizer):
            return super().preprocess(inputs, **preprocess_params)
        if isinstance(self.model.config, FusionKmerBertConfig):
            raise ValueError("this model reads tracks, which a pipeline does not take; use hf_genomics.predict")
        if windows or isinstance(self.model.config, HierarchicalKmerBertConfig):
            return {"letters": _letters(inputs)}
        encoded = super().preprocess(inputs, **preprocess_params)
        if not (encoded["input_ids"] >= NUM_SPECIAL).any():
            logger.warning(f"{str(inputs)[:30]!r} has no known k-mer of {self.tokenizer.k} nt; its class means nothing")
        return encoded

    def _forward(self, model_inputs: Any) -> Any:
        if "letters" not in model_inputs:
            return super()._forward(model_inputs)
        from .scores import predict_scores  # slow to import

        scores = predict_scores(self.model, self.tokenizer, _sequences(model_inputs["letters"]))
        return {"scores": torch.from_numpy(scores)}

    def postprocess(self, model_outputs: Any, function_to_apply: Any = None, **postprocess_params: Any) -> Any:
        """Turn scores into labels.

        Args:
            model_outputs: logits, or the mean scores of windows.
            function_to_apply: as in transformers; not used for windows, whose scores are probabilities.
            postprocess_params: as in transformers.

        Returns:
            The predicted class and its probability; with ``top_k``, a list of the classes, the predicted one first. It
            is the most probable one, or follows the configuration's ``decision_threshold``, as in `predict`.

        Raises:
            ValueError: if a sequence cannot be scored.
        """
        if "scores" in model_outputs:
            if model_outputs["scores"].isnan().any():
                raise ValueError(
                    "a sequence has no known k-mer, or a letter that is not DNA; hf-genomics check lists them"
                )
            model_outputs, function_to_apply = {"logits": model_outputs["scores"]}, ClassificationFunction.NONE
            threshold = self._threshold
        else:
            # None stands for the default, softmax for two classes. With any other function, and without one
            # (ClassificationFunction.NONE), scores are not probabilities that the threshold could be compared with.
            threshold = self._threshold if function_to_apply in (None, ClassificationFunction.SOFTMAX) else None
        if threshold is None:
            return super().postprocess(model_outputs, function_to_apply, **postprocess_params)
        return self._decided(model_outputs, function_to_apply, threshold, **postprocess_params)

    @property
    def _threshold(self) -> tuple[float, int] | None:
        """Lowest probability of the positive class at which it is predicted, and its id; None without a threshold."""
        from ..loading.config_facts import task_of  # slow to import

        return task_of(self.model.config).threshold if isinstance(self.tokenizer, KmerTokenizer) else None

    def _decided(
        self, model_outputs: Any, function: Any, threshold: tuple[float, int], top_k: int | None = 1, **others: Any
    ) -> Any:
        """Return what `postprocess` returns, with the class first that the threshold predicts."""
        both = super().postprocess(model_outputs, function, top_k=None, _legacy=False)
        lowest, class_id = threshold
        positive = self.model.config.id2label[class_id]
        scores = {one["label"]: one["score"] for one in both}
        # False sorts first: the positive class if its probability reaches the threshold, otherwise the other class.
        both.sort(key=lambda one: (one["label"] == positive) != (scores[positive] >= lowest))
        return both[0] if top_k == 1 and others.get("_legacy", True) else both[:top_k]


class DnaTokenClassificationPipeline(TokenClassificationPipeline):
    """Classify the tokens or the nucleotides of DNA.

    "start" and "end" of an entity are 0-based and half-open, in letters of the text. If the model labels nucleotides,
    an entity is one nucleotide, whose "index" is its position, or, with ``aggregation_strategy="simple"`` (or "first",
    "average" or "max", which are the same here), a run of one class. With ``windows=True``, such a model reads
    sequences of any length in windows, as `predict` does; nucleotides in a window without a known k-mer have no entity.
    """

    def _sanitize_parameters(
        self, aggregation_strategy: Any = None, stride: Any = None, windows: bool | None = None, **parameters: Any
    ) -> tuple:
        # transformers refuses both for tokenizers in Python: `stride`, and the strategies that combine the tokens of a
        # word ("first", "average", "max"). A k-mer or a nucleotide is a whole word, so these strategies mean "simple".
        if isinstance(self.tokenizer, KmerTokenizer):
            if stride is not None:
                raise ValueError("stride is for other tokenizers; windows=True reads sequences of any length")
            if isinstance(aggregation_strategy, str):
                aggregation_strategy = AggregationStrategy(aggregation_strategy.lower())
            if aggregation_strategy not in (None, AggregationStrategy.NONE):
                aggregation_strategy = AggregationStrategy.SIMPLE
        parameters |= {"aggregation_strategy": aggregation_strategy, "stride": stride}
        before, during, after = super()._sanitize_parameters(**parameters)
        return before if windows is None else before | {"windows": windows}, during, after

    def preprocess(
        self, sentence: Any, offset_mapping: Any = None, windows: bool = False, **preprocess_params: Any
    ) -> Iterator[dict]:
        """Encode a sequence, with the positions of its tokens, or take its letters if it is to be cut into windows.

        Args:
            sentence: the sequence, as str.
            offset_mapping: positions of the tokens, which the tokenizer otherwise gives.
            windows: whether to cut it.
            preprocess_params: as in transformers.

        Raises:
            ValueError: if the model classifies nucleotides and the sequence contains blanks, or it classifies tokens
                and the sequence is to be cut.
        """
        if not isinstance(self.tokenizer, KmerTokenizer) or not isinstance(sentence, str):
            yield from super().preprocess(sentence, offset_mapping, **preprocess_params)
            return
        if windows:
            if not self._is_per_nt:
                raise ValueError(
                    "windows=True needs a model that labels sequences or nucleotides, and this one labels tokens; cut "
                    "the sequence with KmerTokenizer.windows"
                )
            yield {"letters": _letters(sentence), "sentence": sentence, "is_last": True}
            return
        if self._is_per_nt and len(sentence.split()) > 1:
            raise ValueError("a model that labels nucleotides takes one sequence at a time; remove the blanks in it")
        limit = self.tokenizer.model_max_length
        whole = self.tokenizer(sentence, return_offsets_mapping=True, return_tensors="pt", verbose=False)
        if whole["input_ids"].shape[1] > limit:
            logger.warning(
                f"a sequence of {whole['input_ids'].shape[1]} tokens is truncated to the {limit} that the model reads; "
                "windows=True reads all of it if the model classifies nucleotides, and KmerTokenizer.windows cuts it"
            )
        for inputs in super().preprocess(sentence, offset_mapping, **preprocess_params):
            if offset_mapping is None:
                last = inputs["input_ids"].shape[1] - 1
                places = whole["offset_mapping"][:, : last + 1].clone()
                places[:, last] = 0  # [SEP], also after truncation
                inputs["offset_mapping"] = places
            yield inputs

    def _forward(self, model_inputs: Any) -> Any:
        if "letters" not in model_inputs:
            return super()._forward(model_inputs)
        from .scores import predict_nt_scores  # slow to import

        found = predict_nt_scores(self.model, self.tokenizer, _sequences(model_inputs["letters"]))
        # softmax(log p) is p, so log-probabilities serve as logits. transformers takes each nucleotide for a token at
        # its own position. It also wants `input_ids`, which `gather_pre_entities` does not read for nucleotides.
        logits = pad_sequence([torch.from_numpy(scores).log() for scores in found], batch_first=True)
        positions = torch.arange(logits.shape[1])
        lengths = torch.tensor([len(scores) for scores in found])
        mask = (positions >= lengths.unsqueeze(1)).long()  # 1 beyond the end of a sequence
        places = torch.stack([positions, positions + 1], -1) * (1 - mask).unsqueeze(-1)
        others = {name: model_inputs[name] for name in ("sentence", "is_last")}
        return {"logits": logits, "input_ids": mask, "special_tokens_mask": mask, "offset_mapping": places, **others}

    def gather_pre_entities(
        self, sentence: str, input_ids: Any, scores: Any, offset_mapping: Any, *args: Any, **kwargs: Any
    ) -> list[dict]:
        """List what is classified: tokens, as transformers does, or nucleotides.

        Args:
            sentence: the sequence.
            input_ids: ids, (tokens,).
            scores: probabilities of the classes, (tokens, classes) or (nt, classes).
            offset_mapping: positions of the tokens in the sequence, or, if it was read in windows, of its nucleotides,
                counted from the first; (tokens, 2).
            args: as in transformers.
            kwargs: as in transformers.
        """
        if not self._is_per_nt or offset_mapping is None:
            return super().gather_pre_entities(sentence, input_ids, scores, offset_mapping, *args, **kwargs)
        letters = sentence.strip()
        first = sentence.index(letters)  # scores begin with the first letter, positions with the blanks before it
        tokens = [(int(start), int(end)) for start, end in offset_mapping if end > start]
        covered = tokens[-1][1] - tokens[0][0] if tokens else 0
        is_whole = len(letters) - covered < self.model.config.stride  # the tail is too short for another k-mer
        length = min(len(scores), len(letters) if is_whole else covered)
        return [
            {"word": letter, "scores": row, "start": position, "end": position + 1, "index": position}
            for position, (letter, row) in enumerate(zip(letters[:length], scores[:length], strict=True), first)
            if not np.isnan(row).any()
        ]

    def group_entities(self, entities: list[dict]) -> list[dict]:
        """Merge adjacent entities of one class; a nucleotide without an entity separates its neighbours.

        Args:
            entities: tokens or nucleotides, from the start of the sequence to its end.
        """
        if not self._is_per_nt:
            return super().group_entities(entities)
        starts = [row for row in range(1, len(entities)) if entities[row]["start"] != entities[row - 1]["end"]]
        bounds, group_run = [0, *starts, len(entities)], super().group_entities
        runs = [entities[begin:end] for begin, end in zip(bounds[:-1], bounds[1:], strict=True)]
        return [group for run in runs if run for group in group_run(run)]

    def group_sub_entities(self, entities: list[dict]) -> dict:
        """Merge adjacent entities of one class.

        Args:
            entities: tokens or nucleotides of one class.
        """
        group = super().group_sub_entities(entities)
        if isinstance(self.tokenizer, KmerTokenizer):
            # transformers takes whatever precedes a hyphen for a prefix such as "B-": "non-coding" became "coding".
            group["entity_group"] = self.get_tag(entities[0]["entity"])[1]
        if self._is_per_nt:
            group["word"] = "".join(entity["word"] for entity in entities)
        return group

    @property
    def _is_per_nt(self) -> bool:
        return getattr(self.model.config, "labels_per", "token") == "nt"


def _letters(sequence: Any) -> Tensor:
    """Return the letters of a sequence, uint8 (1, nt); raise ValueError if it is not one plain sequence."""
    if not isinstance(sequence, str) or len(sequence.split()) != 1:
        is_column = type(sequence).__name__ == "Column"  # of datasets
        raise ValueError("a column of a data set stands for many sequences; use list(...)" if is_column else _PLAIN)
    return torch.from_numpy(as_letters(sequence.strip()).copy()).unsqueeze(0)


def _sequences(letters: Tensor) -> list[np.ndarray]:
    """Return the sequences of a batch, which the pipeline has padded with zeros."""
    return [row[row != 0] for row in letters.cpu().numpy()]


def register_pipelines() -> None:
    """Register these pipelines for their tasks."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # transformers warns that its own pipelines are replaced
    try:
        for task, kind in _KINDS.items():
            entry = PIPELINE_REGISTRY.supported_tasks[task]
            PIPELINE_REGISTRY.register_pipeline(task, kind, entry["pt"], entry.get("default"), entry.get("type"))
    finally:
        logging.set_verbosity(level)


_KINDS = {
    "text-classification": DnaTextClassificationPipeline,
    "token-classification": DnaTokenClassificationPipeline,
}
