"""Write a model's card, README.md, from the files that its run left beside the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..saved_files import read_json, read_tensors
from ..saved_settings import check_types

#: Heading of the section that belongs to the author of the model; it is kept when a card is written again.
NOTES = "## Notes"
NO_NOTES = "None. (The author's own text goes here; it is kept when the card is written again.)"

_CITATION = """\
    @article{ji2021dnabert,
      title = {{DNABERT}: pre-trained {Bidirectional Encoder Representations from Transformers} model for
        {DNA}-language in genome},
      author = {Ji, Yanrong and Zhou, Zhihan and Liu, Han and Davuluri, Ramana V},
      journal = {Bioinformatics},
      volume = {37},
      number = {15},
      pages = {2112--2120},
      year = {2021}
    }"""
_ETHICS = """\
The model has not been tested for clinical use; do not diagnose or treat anyone by its output. If you train or test it
on human DNA: human sequences are personal data, and a model may remember some of them, so share it only where your
consent and rules allow. Scores measured on people of one ancestry may not hold for others. The model recognises
pathogens by similarity only: do not use a negative result as the only barrier."""

# Scores in the order of a card, and their names there. Other scores of metrics.json follow under their own names.
_SCORE_NAMES = {
    "accuracy": "accuracy",
    "macro_recall": "macro recall",
    "macro_precision": "macro precision",
    "f1": "F1",
    "f1_macro": "macro F1",
    "mcc": "MCC",
    "auroc": "AUROC",
    "auprc": "AUPRC",
}
# Part of the name of a model's class -> its pipeline on the Hub, what it is, and the Auto class that loads it.
_TASKS = {
    "MaskedLM": ("fill-mask", "masked language model", "AutoModelForMaskedLM"),
    "SequenceClassification": ("text-classification", "classifier of sequences", "AutoModelForSequenceClassification"),
    "TokenClassification": ("token-classification", "classifier of nucleotides", "AutoModelForTokenClassification"),
}

# Types, each with its name in messages.
_OBJECT, _LIST = (dict, "an object"), (list, "a list")
_NUMBER, _TEXT = ((int, float), "a number"), (str, "a string")
_SPENT = ("epsilon", "delta", "clip", "noise_multiplier", "steps", "sample_rate")  # numbers of a private run
# File -> the type that each part of it must have if it is there. A part is a path of keys: "data.splits.*.file" is what
# run.json has at data, splits, any split, file.
_RECORD: dict[str, dict[str, tuple[Any, str]]] = {
    "metrics.json": {
        **dict.fromkeys(("test", "test.undefined", "baselines", "baselines.*", "leaks", "privacy"), _OBJECT),
        **dict.fromkeys([f"privacy.{name}" for name in _SPENT], _NUMBER),
        "privacy.unit": _TEXT,
        **dict.fromkeys(("train_runtime", "train_hours"), _NUMBER),
    },
    "run.json": {
        **dict.fromkeys(("data", "data.splits", "data.splits.*", "data.splits.*.classes"), _OBJECT),
        **dict.fromkeys(("training", "versions"), _OBJECT),
        **dict.fromkeys(("base_model", "command", "data.splits.*.file", "data.splits.*.sha256"), _TEXT),
        "data.splits.*.classes.*": _NUMBER,
        "data.files": _LIST,
        "data.files.*": _OBJECT,
        **dict.fromkeys(("data.files.*.file", "data.files.*.sha256"), _TEXT),
    },
}
# Objects of the records -> the entries that each of them must have.
_REQUIRED = {"privacy": (*_SPENT, "unit"), "data.files.*": ("file", "sha256")}


@dataclass(frozen=True)
class Records:
    """What is known about a model, from the files of its folder.

    Attributes:
        name: name of the model, for headings and examples.
        config: content of config.json.
        tokenizer: content of tokenizer_config.json.
        metrics: content of metrics.json; empty if the folder has none.
        run: content of run.json; empty if the folder has none.
        parameters: number of weights; None if unknown.
    """

    name: str
    config: dict[str, Any]
    tokenizer: dict[str, Any]
    metrics: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    parameters: int | None = None

    @property
    def task(self) -> tuple[str, str, str]:
        """Return the pipeline of the Hub, a description, and the Auto class."""
        heads = " ".join(self.config.get("architectures") or [])
        # A model without a head, or an unknown one, is described by what it was pretrained for.
        pipeline, what, auto = next((task for head, task in _TASKS.items() if head in heads), _TASKS["MaskedLM"])
        if self.config.get("problem_type") == "regression":
            what = what.replace("classifier", "regression model")
        return pipeline, what, auto


def read_records(folder: Path, name: str | None = None) -> Records:
    """Read the files of a model folder that a card is written from.

    Args:
        folder: folder of a saved model.
        name: name of the model; by default the name of the folder.

    Raises:
        InputError: if config.json or tokenizer_config.json is missing, or one of the files is not a JSON object.
    """
    paths = [folder / f"{part}.json" for part in ("config", "tokenizer_config", "metrics", "run")]
    for path in paths[:2]:
        if not path.is_file():
            raise InputError(f"{folder}: no {path.name} in this folder; name a folder with a saved model and tokenizer")
    try:
        config, tokenizer, metrics, run = (read_json(path) if path.is_file() else {} for path in paths)
        num_weights = _count_weights(folder)
        try:
            check_types(config)
        except ValueError as error:
            raise ValueError(f"{paths[0]}: {error}") from error
        for path, content in zip(paths[2:], (metrics, run), strict=True):
            _check_record(path, content)
    except ValueError as error:
        raise InputError(str(error)) from error
    return Records(name or folder.resolve().name, config, tokenizer, metrics, run, num_weights)


def _check_record(path: Path, content: dict[str, Any]) -> None:
    """Raise ValueError if a part of metrics.json or run.json is missing, or not of the type that a card needs."""
    parts = _RECORD[path.name]
    for key, (kind, what) in parts.items():
        if not all(isinstance(value, kind) for value in _values_at(key, content)):
            raise ValueError(f"{path}: {key!r} must be {what}; copy the file again, or delete it")
    for key in parts.keys() & _REQUIRED.keys():
        for entry in _values_at(key, content):
            if missing := [name for name in _REQUIRED[key] if entry.get(name) is None]:
                raise ValueError(f"{path}: {key!r} has no {missing[0]!r}; copy the file again, or delete it")


def _values_at(key: str, content: Any) -> list[Any]:
    """List the values at a path of keys, of which ``*`` stands for every entry. What is missing, or null, is left out.

    >>> _values_at("splits.*.file", {"splits": {"train": {"file": "a.csv"}, "test": {"file": "b.csv"}}})
    ['a.csv', 'b.csv']
    """
    values = [content]
    for name in key.split("."):
        values = [entry for value in values for entry in _entries(value, name)]
    return values


def _entries(value: Any, name: str) -> list[Any]:
    """List the entry of an object that has a name, if there is one; for ``*``, all entries of an object or a list."""
    if isinstance(value, list):
        return value if name == "*" else []
    if not isinstance(value, dict):
        return []
    if name == "*":
        return list(value.values())
    return [] if value.get(name) is None else [value[name]]


def _count_weights(folder: Path) -> int | None:
    """Return the number of weights in safetensors files, from their headers; None if there are no such files."""
    headers = map(read_tensors, sorted(folder.glob("*.safetensors")))
    return sum(math.prod(tensor.shape) for tensors in headers for tensor in tensors.values()) or None


def render_card(records: Records, *, license: str | None = None, notes: str | None = None) -> str:
    """Return the text of a card: the Hub's metadata, then the sections.

    Args:
        records: what is known about the model.
        license: the model's licence as the Hub spells it, such as "mit"; None if the author has not chosen one.
        notes: content of the section "Notes", which belongs to the author.
    """
    sections = {
        "Architecture": _architecture(records),
        "Data": _data(records),
        "Training": _training(records),
        "Scores": score_section(records),
        "Intended use and limits": _limits(records),
        "Ethics": _ETHICS,
        "Use": _use(records),
        "Licence": _licence(license),
        "Citation": f"The method is DNABERT's; please cite it beside this model:\n\n{_CITATION}",
    }
    pipeline, what, _ = records.task
    k, stride = records.config.get("k"), records.config.get("stride")
    intro = f"A {what} for DNA: a KmerBert that reads {k}-mers at stride {stride}, made with hf_genomics."
    body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections.items())
    body += f"\n\n{NOTES}\n\n{notes.strip() if notes and notes.strip() else NO_NOTES}\n"
    return f"---\n{card_metadata(records, license)}\n---\n\n# {records.name}\n\n{intro}\n\n{body}"


def card_metadata(records: Records, license: str | None = None) -> str:
    """Return the metadata of a card for the Hub, as YAML."""
    from huggingface_hub import EvalResult, ModelCardData

    pipeline, *_ = records.task
    test = {name: value for name, value in (records.metrics.get("test") or {}).items() if _is_score(value)}
    data = ((records.run.get("data") or {}).get("splits") or {}).get("test") or {}
    results = [
        EvalResult(
            task_type=pipeline,
            dataset_type="private",
            dataset_name=data.get("file", "test split"),
            dataset_split="test",
            metric_type=name,
            metric_name=score_name(name),
            metric_value=value,
        )
        for name, value in test.items()
    ]
    base = records.run.get("base_model")
    return ModelCardData(
        library_name="transformers",
        license=license,
        pipeline_tag=pipeline,
        base_model=base if base and "/" in base else None,  # the Hub accepts names of repositories only
        tags=["biology", "genomics", "DNA", records.config.get("model_type", "kmer_bert")],
        model_name=records.name if results else None,
        eval_results=results or None,
    ).to_yaml()


def _is_score(value: object) -> bool:
    """Return whether an entry of the test scores is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _architecture(records: Records) -> str:
    """Describe sizes, tokens and head."""
    config = records.config
    layers, hidden = config.get("num_hidden_layers"), config.get("hidden_size")
    pipeline, *_ = records.task
    classes = ", ".join((config.get("id2label") or {}).values())
    longest = config.get("max_sequence_length")
    rows = {
        "layers x hidden size": f"{layers} x {hidden}",
        "attention heads": config.get("num_attention_heads"),
        "weights": f"{records.parameters:,}" if records.parameters else None,
        "k, stride": f"{config.get('k')}, {config.get('stride')} nt",
        "vocabulary": f"{config.get('vocab_size'):,}" if config.get("vocab_size") else None,
        "tokens at most, with [CLS] and [SEP]": config.get("max_position_embeddings"),
        "positions": config.get("position_embedding_type"),
        "pooling": config.get("classifier_pooling") if pipeline == "text-classification" else None,
        "classes or values": classes if pipeline != "fill-mask" else None,
        "trained on windows of at most": f"{longest} nt" if longest else None,
    }
    return _table(["", ""], [[name, value] for name, value in rows.items() if value not in (None, "")])


def _data(records: Records) -> str:
    """Describe what the model was trained, validated and tested on."""
    data = records.run.get("data")
    if not data:
        return "This folder has no record of the data (run.json is missing)."
    parts = []
    if splits := data.get("splits"):
        header = ["split", "file", "sequences", "nt", "classes"]
        rows = [
            [
                role,
                facts.get("file", "genome store"),
                facts.get("sequences", facts.get("contigs")),
                facts.get("nt"),
                ", ".join(f"{name} {count:,}" for name, count in (facts.get("classes") or {}).items()),
            ]
            for role, facts in splits.items()
        ]
        parts.append(_table(header, rows))
        hashes = [f"{role} `{facts['sha256'][:16]}`" for role, facts in splits.items() if facts.get("sha256")]
        if hashes:
            parts.append(f"SHA-256 of the sequences and labels (first 16 digits): {', '.join(hashes)}.")
    if files := data.get("files"):
        names = [f"{entry['file']} `{entry['sha256'][:16]}`" for entry in files]
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        parts.append(f"Files, with the first 16 digits of their SHA-256: {', '.join(names[:20])}{more}.")
    parts.append(_leaks(records))
    return "\n\n".join(filter(None, parts))


def _leaks(records: Records) -> str:
    """Describe how many sequences occur in two splits, if the run counted them."""
    leaks = records.metrics.get("leaks")
    if leaks is None:
        return ""
    found = [f"{pair} {count:,}" for pair, count in leaks.items() if isinstance(count, int) and count]
    if not found:
        return "No sequence of one split is in another split, on either strand."
    return f"Sequences of one split that are in another split as well, on either strand: {', '.join(found)}."


def _training(records: Records) -> str:
    """Describe the run: masking, steps, options, time, machine, versions and command."""
    run, metrics = records.run, records.metrics
    if not run and not metrics:
        return "This folder has no record of its training (run.json and metrics.json are missing)."
    seconds = metrics.get("train_runtime")  # of the last run; older records have no hours of all runs
    rows: list[list[object]] = [
        ["base model", run.get("base_model")],
        ["masking", metrics.get("masking")],
        ["tokens seen", metrics.get("num_input_tokens_seen")],
        *([name.replace("_", " "), _setting(value)] for name, value in (run.get("training") or {}).items()),
        ["privacy", _privacy(metrics.get("privacy"))],
        ["hours", metrics.get("train_hours") or (seconds and round(seconds / 3600, 3))],
        ["energy", "not measured"],
        ["hardware", run.get("hardware")],
        ["versions", ", ".join(f"{name} {value}" for name, value in (run.get("versions") or {}).items())],
    ]
    text = _table(["", ""], [row for row in rows if row[1] not in (None, "")])
    return f"{text}\n\nCommand:\n\n    {run['command']}" if run.get("command") else text


def _setting(value: object) -> object:
    """Return a setting for a table, a number with all the digits that it was given: 0.0015 is not 0.002."""
    return f"{value:.6g}" if isinstance(value, float) else value


def _privacy(spent: dict[str, Any] | None) -> str | None:
    """Describe the differential privacy of a run; None if it was not private."""
    if not spent:
        return None
    return (
        f"({spent['epsilon']:.3g}, {spent['delta']:.2g})-differential privacy of the weights for {spent['unit']} "
        f"(DP-SGD: clipped at {spent['clip']:g}, noise multiplier {spent['noise_multiplier']:.3g}, {spent['steps']:,} "
        f"steps with sample rate {spent['sample_rate']:.3g}); scores, counts and baselines of this card are computed "
        "without noise"
    )


def score_section(records: Records) -> str:
    """Write the table of scores: of a fine-tuned model on the test split, otherwise of a run in validation."""
    if isinstance(records.metrics.get("test"), dict):
        return _test_scores(records.metrics)
    return _validation_scores(records.metrics)


def _test_scores(metrics: dict[str, Any]) -> str:
    """Write the table of the scores on the test split: the model, and the baselines beside it."""
    models = {"this model": metrics["test"], **(metrics.get("baselines") or {})}
    found = [name for name, value in metrics["test"].items() if _is_score(value)]
    names = [name for name in _SCORE_NAMES if name in found] + [name for name in found if name not in _SCORE_NAMES]
    rows = [[title, *(score.get(name) for name in names)] for title, score in models.items()]
    positive = metrics.get("positive") or metrics["test"].get("positive")
    note = f" F1 and AUPRC refer to the class {positive}." if positive else ""
    ways = {"both_strands": "both strands", "frames": f"{metrics.get('frames')} frames"}
    if averaged := [way for key, way in ways.items() if metrics.get(key)]:
        note += f" Probabilities (or values) of this model are means over {' and '.join(averaged)}."
    reasons = metrics["test"].get("undefined") or {}
    note += "".join(f" {_SCORE_NAMES.get(name, name)} has no value: {why}." for name, why in reasons.items())
    table = _table(["model", *map(score_name, names)], rows)
    return f"{table}\n\nOne run with one seed, on the test split.{note}"


def _validation_scores(metrics: dict[str, Any]) -> str:
    """Write the table of what the Trainer measured in validation, whose names begin with ``eval_``."""
    evaluated = {name.removeprefix("eval_"): value for name, value in metrics.items() if name.startswith("eval_")}
    timing = ("runtime", "samples_per_second", "steps_per_second")
    rows = [[name.replace("_", " "), value] for name, value in evaluated.items() if name not in timing]
    if not rows:
        return "Not scored: the run had neither a validation nor a test split."
    return _table(["validation", ""], rows) + "\n\nOne run with one seed, on windows of the validation split."


def score_name(key: str) -> str:
    """Return the name of a score for readers; the key of metrics.json if it has no other name."""
    return _SCORE_NAMES.get(key, key)


def _limits(records: Records) -> str:
    """Describe what the model is for, and what it is not for."""
    trained, reads = (records.config.get(key) for key in ("max_sequence_length", "max_position_embeddings"))
    most = f"reads at most {reads} tokens at once, [CLS] and [SEP] included"
    if trained:
        most = f"was trained on windows of at most {trained} nt"
    return (
        f"Meant for research: {_purpose(records)}, for organisms like those of the training data. It {most}; longer "
        "sequences are cut into windows. On other organisms, on shorter or longer sequences and on reads with many "
        "errors the scores above do not hold: measure them on labelled sequences of your own (`hf-genomics evaluate`). "
        "K-mers that touch a letter other than A, C, G and T are unknown tokens."
    )


def _purpose(records: Records) -> str:
    """Return what the model is for, as the end of a sentence that begins "Meant for research:"."""
    if records.task[0] == "fill-mask":
        return "as the start of fine-tuning on labelled DNA, and for embeddings and scores of variants"
    *names, last = map(str, (records.config.get("id2label") or {"": "a value"}).values())
    if names and records.config.get("problem_type") not in ("regression", "multi_label_classification"):
        return f"to tell the classes {', '.join(names)} and {last} apart by their DNA"
    return f"to predict {', '.join([*names, last])} from DNA"


def _use(records: Records) -> str:
    """Write an example that loads the model."""
    *_, auto = records.task
    lines = [
        f"from transformers import AutoTokenizer, {auto}",
        "",
        f'tokenizer = AutoTokenizer.from_pretrained("{records.name}", trust_remote_code=True)',
        f'model = {auto}.from_pretrained("{records.name}", trust_remote_code=True)',
        'logits = model(**tokenizer("ACGTACGTACGTACGTACGT", return_tensors="pt")).logits',
    ]
    text = "```python\n" + "\n".join(lines) + "\n```"
    if records.task[0] != "fill-mask":
        text += "\n\nFor sequences of any length, from a file:\n\n"
        text += f"    hf-genomics predict --model {records.name} --input contigs.fasta --output predictions.tsv"
    place = "" if "/" in records.name else f"`{records.name}` stands for the path of this folder. "
    return f"{text}\n\n{place}Where hf_genomics is installed, `import hf_genomics` replaces `trust_remote_code=True`."


def _licence(license: str | None) -> str:
    """Describe the licence of weights and code."""
    weights = license or "not chosen by the author yet (`hf-genomics card --license` sets it)"
    return f"Weights: {weights}. The code of hf_genomics in this folder: Apache-2.0."


def _table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; numbers are shown with three decimals (float) or grouped digits (int)."""
    lines: list[Sequence[object]] = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: object) -> str:
    """Return a cell of a table; a missing score is a dash."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3f}" if not value or abs(value) >= 0.001 else f"{value:.3g}"
    text = str(value)
    return text.replace("|", "\\|").replace("\n", " ")
