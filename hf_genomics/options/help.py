"""Write the help of a verb: its required options, its other options, common options of the Trainer, an example.

``--help all`` adds the other options of the Trainer.
"""

from __future__ import annotations

import shutil
import textwrap
import types
import typing
from collections.abc import Mapping
from typing import Any

#: An example of each verb; those that name only bundled files can be run as they are.
EXAMPLES = {
    "download": "hf-genomics download --accessions list.tsv --output_dir genomes --email you@example.org",
    "check": "hf-genomics check recipes/data/quickstart/*.fasta.gz",
    "prepare": (
        "hf-genomics prepare --fasta recipes/data/quickstart/*.fasta.gz --split 0.8 0.1 0.1 --output_dir runs/store"
    ),
    "train-bpe": "hf-genomics train-bpe --store runs/store --output_dir runs/bpe",
    "pretrain": "hf-genomics pretrain --config recipes/pretrain_wide_cpu.yaml --data.store runs/store",
    "finetune": (
        "hf-genomics finetune --pretrained model_cards/virus-wide --data.train recipes/data/windows_train.csv "
        "--data.test recipes/data/windows_test.csv --output_dir runs/mine --trainer.learning_rate 5e-4"
    ),
    "evaluate": (
        "hf-genomics evaluate --model model_cards/phage-150nt --data.test recipes/data/windows_test.csv "
        "--output_dir runs/evaluated"
    ),
    "probe": (
        "hf-genomics probe --model model_cards/virus-wide --data.train recipes/data/windows_train.csv "
        "--data.test recipes/data/windows_test.csv --output_dir runs/probe"
    ),
    "predict": (
        "hf-genomics predict --model model_cards/phage-150nt --input recipes/data/quickstart/NC_001422.fasta.gz "
        "--output -"
    ),
    "embed": (
        "hf-genomics embed --model model_cards/virus-wide --input recipes/data/windows_test.csv --color label "
        "--output runs/vectors.parquet"
    ),
    "explain": (
        "hf-genomics explain --model model_cards/phage-150nt --input recipes/data/quickstart/NC_001422.fasta.gz "
        "--output_dir runs/explained"
    ),
    "motifs": "hf-genomics motifs --model runs/ctcf --input peaks.fa --target peak --output_dir runs/ctcf_motifs",
    "demo": "hf-genomics demo --model model_cards/phage-150nt",
    "region-picture": (
        "hf-genomics region-picture --region NC_001422.1:1-1000 --scores runs/explained/scores.bedgraph "
        "--output runs/region.png"
    ),
    "score-variants": (
        "hf-genomics score-variants --model model_cards/virus-wide --vcf in.vcf.gz --fasta genome.fa "
        "--output scored.vcf.gz"
    ),
    "table": "hf-genomics table --genome genome.fa.gz --bed peaks.bed --features.length 200 --output peaks.csv",
    "label-scarcity": "hf-genomics label-scarcity --config recipes/label_scarcity.yaml",
    "convert": "hf-genomics convert zhihan1996/DNA_bert_6 --output_dir runs/dnabert6",
    "card": "hf-genomics card runs/mine --name you/mine --license mit",
    "push": "hf-genomics push runs/mine --name you/mine --dry_run true",
    "quickstart": "hf-genomics quickstart --output_dir runs/quickstart",
}
#: The options of transformers.TrainingArguments that are used most, with what they do.
TRAINER = {
    "output_dir": "folder for the model, its scores and checkpoints",
    "num_train_epochs": "passes over the training examples",
    "max_steps": "number of steps; if positive, it decides instead of num_train_epochs",
    "per_device_train_batch_size": "training examples in a step, on each device",
    "per_device_eval_batch_size": "examples at once while scoring, on each device",
    "gradient_accumulation_steps": "batches that are added up for one step: a larger batch in the same memory",
    "learning_rate": "highest learning rate; small models take 5e-4 or more, large ones 2e-5",
    "lr_scheduler_type": "how the rate changes: linear, cosine, constant, constant_with_warmup ...",
    "warmup_steps": "steps in which the rate rises; below 1, a share of all steps",
    "weight_decay": "weight decay of AdamW",
    "seed": "seed of new weights, of the order of examples, of dropout and of masks",
    "eval_strategy": "when to score the validation split: no, steps or epoch",
    "save_steps": "steps between two checkpoints; below 1, a share of all steps",
    "logging_steps": "steps between two lines of the log; below 1, a share of all steps",
    "load_best_model_at_end": "keep the best checkpoint by metric_for_best_model, not the last one",
}
_TRAINERS = ("trainer", "pretraining", "finetuning")  # sections of transformers.TrainingArguments
_WORDS = {bool: "true|false", int: "INT", float: "NUMBER", str: "TEXT"}
_WIDEST = 100


def help_text(parser: Any, verb: str, other_names: Mapping[str, str], everything: bool = False) -> str:
    """Return the help of a verb.

    Args:
        parser: its parser.
        verb: its name on the command line.
        other_names: key of an option -> a second name for it on the command line, which is the same in all verbs.
        everything: list all options of the Trainer, not only the most used ones.
    """
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    sections = [section for group in parser._action_groups for section in _sections(group)]
    required = [action for _, actions in sections for action in actions if _is_required(action)]
    blocks = [parser.format_usage().strip(), *_wrapped(parser.description or "", width)]
    blocks += _block("required:", [_option(action, other_names, width) for action in required])
    for title, actions in sorted(sections, key=_rank):
        shown = sorted((action for action in actions if action not in required), key=_place)
        listed = [action for action in shown if everything or not _is_of_trainer(action) or _help_of(action)]
        lines = [_option(action, other_names, width) for action in listed]
        if len(listed) < len(shown):
            more = f"and {len(shown) - len(listed)} more: hf-genomics {verb} --help all"
            lines.append(f"  {more}")
        blocks += _block(title, lines)
    if verb in EXAMPLES:
        blocks.append(f"example:\n  {EXAMPLES[verb]}")
    return "\n\n".join(blocks) + "\n"


def _sections(group: Any) -> list[tuple[str, list[Any]]]:
    """Return the heading and the options of a group of the parser; nothing if it has no option that a user sets."""
    actions = [action for action in group._group_actions if _is_option(action)]
    if not actions:
        return []
    section = actions[0].dest.rpartition(".")[0]
    title = "options of transformers.TrainingArguments" if _is_of_trainer(actions[0]) else str(group.title)
    # Many verbs have an argument `options`, a dataclass. The command line names its fields without this prefix.
    own = {"": f"{title}:", "options": "further options:"}
    return [(own.get(section, f"{section}: {title}:"), actions)]


def _rank(section: tuple[str, list[Any]]) -> int:
    """Return the sort key of a section: 0 for options without a section, 1 for other sections, 2 for the Trainer's."""
    first = section[1][0]
    return 2 if _is_of_trainer(first) else int(first.dest.rpartition(".")[0] not in ("", "options"))


def _is_option(action: Any) -> bool:
    """Return whether an action of the parser is an option that a user sets.

    jsonargparse also has an option for each section, which reads it from a file (``--data FILE``), options of its own,
    such as ``--print_config``, and linked keys, which take the value of another key.
    """
    is_file = type(action).__name__ == "_ActionConfigLoad"  # the only mark that jsonargparse gives it
    is_other = action.dest in ("print_config", "print_shtab") or action.dest.rpartition(".")[2] == "help"
    is_option = any(text.startswith("--") for text in action.option_strings)  # a linked key has no name with dashes
    return is_option and not is_file and not is_other


def _is_of_trainer(action: Any) -> bool:
    """Return whether an option belongs to transformers.TrainingArguments or a subclass."""
    return action.dest.split(".")[0] in _TRAINERS and "." in action.dest


def _is_required(action: Any) -> bool:
    """Return whether the user must set an option: a required one without a value, or the Trainer's output folder."""
    is_set = action.default not in (None, "==SUPPRESS==")  # by the bundled recipe that some verbs follow
    return action.required and not is_set or action.dest == "trainer.output_dir"


def _place(action: Any) -> int:
    """Return the place of an option in its section: the options of the Trainer in our order, then others."""
    name = action.dest.rpartition(".")[2]
    return [*TRAINER].index(name) if _is_of_trainer(action) and name in TRAINER else len(TRAINER)


def _help_of(action: Any) -> str:
    """Return what an option does; "" for the Trainer's options that `TRAINER` lacks, since the parser has no text."""
    return action.help or (TRAINER.get(action.dest.rpartition(".")[2], "") if _is_of_trainer(action) else "")


def _option(action: Any, other_names: Mapping[str, str], width: int) -> str:
    """Return the lines of an option: name, kind of value and default, and below them what it does."""
    name = next(text for text in action.option_strings if text.startswith("--")).replace("--options.", "--")
    has_default = action.default is not None and action.default != "==SUPPRESS==" and not _is_required(action)
    default = f" (default: {str(action.default).lower() if isinstance(action.default, bool) else action.default})"
    other = f", or --{other_names[action.dest]}" if action.dest in other_names else ""
    head = f"  {name}{other} {_kind(action)}{default if has_default else ''}"
    indent = " " * 6
    return "\n".join([head, *_lines(_help_of(action), width, indent)])


def _kind(action: Any) -> str:
    """Return a word for the values of an option, such as INT or true|false."""
    if action.dest == "config":
        return "FILE"
    return _word_of(getattr(action, "_typehint", str))


def _word_of(kind: Any) -> str:
    """Return a word for a type.

    >>> _word_of(int | None), _word_of(list[str] | None), _word_of(typing.Literal["a", "b"])
    ('INT', 'TEXT ...', 'a|b')
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return "|".join(map(str, arguments))
    if origin is list:
        return f"{_word_of(arguments[0])} ..."
    if origin in (typing.Union, types.UnionType):
        words = dict.fromkeys(_word_of(argument) for argument in arguments if argument is not type(None))
        return "|".join(word for word in words if word != "VALUE" or len(words) == 1)
    return _WORDS.get(kind, "VALUE")


def _wrapped(text: str, width: int) -> list[str]:
    """Return the paragraphs of a text, with lines of a width."""
    return ["\n".join(_lines(paragraph, width)) for paragraph in text.split("\n\n") if paragraph.strip()]


def _lines(text: str, width: int, indent: str = "") -> list[str]:
    """Return the lines of a paragraph; names of verbs are not cut at their hyphens."""
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _block(title: str, lines: list[str]) -> list[str]:
    """Return a heading with the lines below it as one block; nothing if there are no lines."""
    return ["\n".join([title, *lines])] if lines else []
