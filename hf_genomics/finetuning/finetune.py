"""Fine-tune a pretrained model on labelled sequences and score it: the verb `finetune`.

A run has two halves: `plan.plan_finetuning` makes every check and builds everything but writes nothing;
`run.run_finetuning` trains, scores and writes. A sweep, or several seeds, train in processes of their own
(`several_runs`).
"""

from __future__ import annotations

from typing import Any

from transformers import TrainingArguments

from ..evaluation.baseline import check_baselines
from ..labelled.data import LabelledData
from ..renamed import renamed
from ..runs.output_folder import Resume
from .head import FLAT_KEYS, Head
from .plan import FinetuneOptions
from .run import run_finetuning
from .several_runs import Request, run_seeds, run_sweep


@renamed(**FLAT_KEYS)  # keys of version 0.1, which had no section `head`
def finetune(
    pretrained: str,
    data: LabelledData,
    trainer: TrainingArguments,
    head: Head = Head(),  # noqa: B008 (immutable)
    positive: str | None = None,
    baseline_k: int = 4,
    resume: Resume = False,
    overwrite: bool = False,
    options: FinetuneOptions = FinetuneOptions(),  # noqa: B008 (immutable)
) -> dict[str, Any]:
    """Fine-tune a classifier (or regressor), and score it and the baselines on the test split.

    The columns that ``data`` names decide what the model predicts (one label per sequence, several labels, values, or a
    label per nucleotide) and what it reads (single sequences or pairs, with numeric tracks or without).

    Writes to ``trainer.output_dir``: model and tokenizer, metrics.json, predictions.tsv, report.html, loss.png and the
    pictures of `evaluate`, run.json (how the model was made) and README.md (the model card).

    Args:
        pretrained: folder or Hub name of the model to start from.
        data: labelled sequences.
        trainer: transformers.TrainingArguments.
        head: options of the classifier on top of the encoder, and of how it is trained: parts, loss, trained weights,
            calibration.
        positive: the class, of two, that F1 and AUPRC refer to; by default the rarer one in the training data, and the
            second one if both are equally frequent. The model's configuration keeps it.
        baseline_k: k-mer size, in nt, of the baseline "kmer"; 0 for no such baseline.
        resume: continue from the newest valid checkpoint in the output folder, as if the run had not been stopped.
            "auto" begins a run that has no checkpoint yet, continues one that has, and accepts a finished one: the
            choice for a command that is started again and again.
        overwrite: train again even if the output folder holds a finished run.
        options: further options, among them a sweep over options of training.

    Returns:
        The metrics that are written to metrics.json: the numbers of the training run, "pretrained" (the model that
        training started from; None if from random weights), "task" (how the labels were understood), "leaks" and
        "contradictory_labels" (see `find_leaks`), "split" (see `split_table`) and "dropped_leaks" (number of training
        rows) if ``data`` asks for them, "train_sequences" and "test_sequences" (numbers of sequences),
        "test_sequences_without_scores" if there are any, "test" (the scores of the model), "both_strands" and "frames"
        if they are scores of means, "baselines" and "ahead" (see `Comparison`), "calibration" (temperature and ECE),
        "sweep" (the score of each run in validation, and the best run) and "seeds" (the scores of each run, see
        `hf_genomics.jobs.seeds.summarise`). A score without a value is NaN (null in the file), and "undefined" says
        why.

    Raises:
        InputError: if data, model or folder do not fit; nothing has been written then.

    Source: GenomeNet-BERT, section 3 (fine-tuning: [CLS], projection, classifier) and Table 1.
    """
    check_baselines(options.baselines)
    asked = Request(pretrained, data, trainer, head, positive, baseline_k, resume, overwrite, options)
    if options.seeds:
        return run_seeds(asked)
    return run_sweep(asked) if options.sweep else run_finetuning(asked.plan())
