"""Name options in messages: as the verb at hand calls them, with the file or option that set them.

Functions that several verbs share raise errors that name one verb's keys (``data.columns.pair``); another verb calls
the same option ``columns.pair``. The names that other programs use are known here, too.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping

from ..sequence import did_you_mean

#: Sections that hold the same options in different verbs; "" stands for options without a section.
_SAME = (
    ("trainer", "pretraining", "finetuning"),
    ("data.columns", "columns", "options.columns"),
    ("data", "splits", "records", "", "options"),
)
_SECTIONS = sorted({name for names in _SAME for name in names if name}, key=len, reverse=True)
#: A key with its section, or an option; neither part of a path nor of a file's name.
_KEY = re.compile(
    r"(?<![\w./'\"-])(?:--(?P<option>[a-z_]\w*(?:\.\w+)*)"
    rf"|(?P<key>(?:{'|'.join(_SECTIONS)})(?:\.\w+)+))(?![\w/])"
)
_FLAG = re.compile(r"(?: with|, or set) --(?P<option>[\w.]+) (?:auto|true|false)\b")
_OF_OPTIONS = re.compile(r"(?<![\w.])options\.(\w+(?:\.\w+)*)")
_LEADING = re.compile(r"(?P<dashes>--)?(?P<key>[a-z_]\w*(?:\.\w+)*)(?=[ :,])")
_SECTION_FIRST = re.compile(r"(?P<section>[a-z_]+(?:\.[a-z_]+)*): (?P<name>[a-z_]+)(?=[ :])")

#: Options that have one name in all verbs on the command line -> the keys that it may stand for; the first one counts.
_EVERYWHERE = {
    "output_dir": ("trainer.output_dir",),
    "batch_size": ("trainer.per_device_train_batch_size", "options.batch_size"),
    "rna": ("data.rna", "records.rna", "options.rna"),
    "label_column": ("data.columns.label", "columns.label", "options.columns.label"),
    "sequence_column": ("data.columns.sequence", "columns.sequence", "options.columns.sequence"),
    "id_column": ("data.columns.id", "columns.id", "options.columns.id"),
    "dp_epsilon": ("head.dp_epsilon",),
    "dp_delta": ("head.dp_delta",),
}

_TYPES = ("dtype", "torch_dtype", "precision")
_STOPPING = ("early_stopping_patience", "early_stopping", "early_stop", "patience")
#: Names that people know from other programs, or from earlier versions of transformers -> what they are called here.
_ELSEWHERE = {
    "lr": "learning_rate",
    "epochs": "num_train_epochs",
    "num_epochs": "num_train_epochs",
    "n_epochs": "num_train_epochs",
    "max_epochs": "num_train_epochs",
    "steps": "max_steps",
    "num_steps": "max_steps",
    "batch_size": "per_device_train_batch_size",
    "train_batch_size": "per_device_train_batch_size",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "eval_batch_size": "per_device_eval_batch_size",
    "grad_accum": "gradient_accumulation_steps",
    "accumulate_grad_batches": "gradient_accumulation_steps",
    "evaluation_strategy": "eval_strategy",
    "warmup_ratio": "warmup_steps",
    "warmup": "warmup_steps",
    "no_cuda": "use_cpu",
    "cpu": "use_cpu",
    "wd": "weight_decay",
    "scheduler": "lr_scheduler_type",
    "lr_scheduler": "lr_scheduler_type",
    "optimizer": "optim",
    "amp": "bf16",
    "mixed_precision": "bf16",
    **dict.fromkeys(_TYPES, "bf16"),
    "clip_grad_norm": "max_grad_norm",
    "num_workers": "dataloader_num_workers",
    "workers": "dataloader_num_workers",
    "out": "output_dir",
    "output": "output_dir",
    "outdir": "output_dir",
    "save_dir": "output_dir",
    "overwrite_output_dir": "overwrite",
    "do_resume": "resume",
    "resume_from": "resume_from_checkpoint",
    "model_name_or_path": "pretrained",
    "model": "pretrained",
    "train_file": "train",
    "train_data": "train",
    "validation_file": "valid",
    "val": "valid",
    "validation": "valid",
    "test_file": "test",
    "kmer": "k",
    "kmer_size": "k",
    "mask_prob": "start_rate",
    "mlm_probability": "start_rate",
    "region": "bed",
    "regions": "bed",
    **dict.fromkeys(_STOPPING, "early_stopping"),
}
#: Names without a counterpart here, and what to do instead.
_NOT_HERE = {
    "group_by_length": "omit it: batches are packed or padded to their longest sequence",
    "vocab_size": "omit it: the vocabulary follows from tokenizer.k",
    "do_train": "omit it: the verb says what is done",
    "do_eval": "omit it, and set an eval_strategy",
    "do_predict": "omit it, and run hf-genomics predict",
    "threads": "set the environment variable OMP_NUM_THREADS",
    "device": "omit it: the accelerator is found automatically",
    **dict.fromkeys(_TYPES, "omit it: the weights are used in the type in which they were saved"),
    **dict.fromkeys(_STOPPING, "runs do not stop early, but trainer.load_best_model_at_end true keeps the best model"),
}


def everywhere(known: Collection[str]) -> dict[str, str]:
    """Return the options that have one name in all verbs, with their keys in a verb.

    >>> everywhere(["data.rna", "data.columns.label", "model"])
    {'rna': 'data.rna', 'label_column': 'data.columns.label'}

    Args:
        known: the keys of the verb; what is a key itself needs no other name.
    """
    first = {name: next((key for key in keys if key in known), None) for name, keys in _EVERYWHERE.items()}
    return {name: key for name, key in first.items() if key is not None and name not in known}


def suggest(key: str, known: Collection[str]) -> str:
    """Build the end of a message about an unknown key: the key that was probably meant, or "" if none is near.

    >>> suggest("trainer.lr", ["trainer.learning_rate"]), suggest("trainer.nonsense", ["trainer.learning_rate"])
    ("; did you mean 'trainer.learning_rate'?", '')
    >>> suggest("data.rna", ["records.rna", "fasta"])
    "; did you mean 'records.rna'?"

    Args:
        key: the key that does not exist.
        known: the keys that exist.
    """
    section, _, name = key.rpartition(".")
    plain = name.lower().replace("-", "_")
    if plain in _NOT_HERE and not _in_sections(_ELSEWHERE.get(plain, ""), section, known):
        return f"; {_NOT_HERE[plain]}"
    # Most options that people know from elsewhere are the Trainer's.
    first = [] if section else [name for name in (f"trainer.{plain}",) if name in known]
    if same := first or names_here(key, known) or _in_sections(plain, section, known):
        return _mean(same)
    if elsewhere := _ELSEWHERE.get(plain):
        if there := _in_sections(elsewhere, section, known):
            return _mean(there)
    # Only the last part of a key is compared: sections are so long that all keys of one look alike.
    ends = {end.rpartition(".")[2]: end for end in sorted(known, key=lambda end: end.startswith(f"{section}."))}
    if not section or any(end.startswith(f"{section}.") for end in known):
        near = difflib.get_close_matches(plain, ends, n=1, cutoff=0.75)
        return _mean([ends[near[0]]]) if near else ""
    return did_you_mean(key, known, cutoff=0.8)


def _mean(keys: list[str]) -> str:
    """Build the end of a message from the keys that were probably meant."""
    return f"; did you mean {' or '.join(map(repr, keys))}?"


def _in_sections(name: str, section: str, known: Iterable[str]) -> list[str]:
    """List the keys with a name: the one in the section that was written, otherwise those in any section."""
    found = sorted(key for key in known if key.rpartition(".")[2] == name)
    return [key for key in found if section and key == f"{section}.{name}"] or found[:2]


def names_here(key: str, known: Collection[str]) -> list[str]:
    """List what a verb calls an option: the key itself, or the same option in another section; nothing if it has none.

    >>> names_here("data.columns.pair", ["columns.pair", "input"])
    ['columns.pair']

    Args:
        key: the key as another verb calls it.
        known: the keys of the verb.
    """
    if key in known:
        return [key]
    section, _, name = key.rpartition(".")
    if name == "output_dir" and name in known:
        return [name]
    same = next((names for names in _SAME if section in names), ())
    found = [other for other in (f"{place}.{name}".lstrip(".") for place in same) if other in known]
    # Users need not write the section `options`; a verb that has such a key may know it by both names.
    return list(dict.fromkeys(other.removeprefix("options.") for other in found))


def explain(message: str, known: Collection[str], origins: Mapping[str, str], values: Collection[str] = ()) -> str:
    """Return a message in which keys have the names that a verb gives them, after the file that set the first one.

    >>> explain("data.columns.pair: omit it", ["columns.pair"], {"columns.pair": "x.yaml"})
    'x.yaml: columns.pair: omit it'

    Args:
        message: the message.
        known: the keys of the verb.
        origins: key that the user set -> file or option that set it.
        values: what the user set the keys to; it is not renamed, even if it looks like a key.
    """

    def here(match: re.Match[str]) -> str:
        key = match["option"] or match["key"]
        names = [] if match[0] in values else names_here(key, known)
        dashes = "--" if match["option"] else ""
        return " or ".join(f"{dashes}{name}" for name in names) or match[0]

    # Users need not write the section `options`.
    message = _OF_OPTIONS.sub(lambda match: match[1] if match[0] in known else match[0], message)
    # Advice to set an option that this verb does not have.
    message = _FLAG.sub(lambda match: match[0] if names_here(match["option"], known) else "", message)
    message = _KEY.sub(here, message)
    if (first := _SECTION_FIRST.match(message)) and f"{first['section']}.{first['name']}" in known:
        message = f"{first['section']}.{first['name']}{message[first.end() :]}"
    leading = _LEADING.match(message)
    origin = origins.get(leading["key"]) if leading and message.split(":")[0] not in values else None
    if leading is None or origin is None or message.startswith(f"{origin}:"):
        return message
    if origin.startswith("--"):
        return message if leading["dashes"] else f"--{message}"
    return f"{origin}: {message}"
