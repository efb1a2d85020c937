"""The command line: ``hf-genomics VERB --config x.yaml --section.key value``.

A verb is a library function; its options and the keys of its YAML file are the function's arguments and those of the
classes they are made of, nothing else. The user's mistakes end with exit code 2 and one line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import errno
import importlib
import inspect
import json
import logging
import os
import re
import sys
import time
import typing
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .errors import InputError, StoppedError

VERBS = {
    "download": "fetch genomes from NCBI by accession",
    "check": "describe sequence files or tables, and list all that would be refused",
    "prepare": "turn sequence files into a genome store",
    "train-bpe": "train a byte-pair encoding on a genome store",
    "pretrain": "pretrain a model on a genome store",
    "finetune": "fine-tune a pretrained model on labelled sequences",
    "evaluate": "score a fine-tuned model on labelled sequences",
    "predict": "classify the sequences of a file",
    "convert": "convert a DNABERT folder, or a model back to one",
    "push": "upload a model folder to the Hub",
    "quickstart": "all of it on bundled genomes, in minutes, with a report",
}

# What a section's class takes from elsewhere, or what only the framework sets.
_NOT_OPTIONS = {
    "tokenizer": set(
        "added_tokens_decoder token_type_ids_pattern token_type_ids_include_special_tokens "
        "special_tokens_pattern".split()
    ),
    "model": set(
        "vocab_size transformers_version architectures output_hidden_states return_dict dtype chunk_size_feed_forward "
        "is_encoder_decoder id2label label2id problem_type pad_token_id".split()
    ),
    "masking": {"epoch"},
}
_PATIENCE = 10.0  # seconds; launchers look after their processes several times a second
_SHORT_KEYS = {"bf16", "fp16", "tf32", "optim", "fsdp"}  # of TrainingArguments, that are no English words
_LINKS = {"tokenizer.k": "model.k", "tokenizer.stride": "model.stride", "trainer.seed": "masking.seed"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code: 0, or 2 for a mistake of the user's."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_overview())
        return 0
    if words[0] == "--version":
        from . import __version__

        sys.stdout.write(f"hf_genomics {__version__}\n")
        return 0
    try:
        return _run(words[0], words[1:])
    except InputError as error:
        return _complain(str(error))
    except StoppedError as stop:
        return _complain(str(stop), code=stop.code)
    except (PermissionError, FileExistsError, FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        return _complain(f"{error.filename}: {error.strerror}; name another place")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        return _complain(f"{error.filename or 'output'}: {error.strerror}; make room or write to another place")
    except KeyboardInterrupt:
        return _complain("interrupted", code=130)


def _run(verb: str, words: list[str]) -> int:
    if verb not in VERBS:
        raise InputError(f"no verb {verb!r}{_suggest(verb, VERBS)}; hf-genomics --help lists them")
    _set_up_logging()
    function = getattr(importlib.import_module(__package__), verb.replace("-", "_"))
    parser = build_parser(function)
    settings = _build(parser, _gather_lists(words, function))
    result = function(**settings)
    if isinstance(result, dict) and _rank() == 0:
        sys.stdout.write(_table(result))
    if hasattr(result, "show"):  # a report that draws itself
        _show(result)
        return _complain(result.refusal) if result.refusal else 0
    return 0


def _show(report: Any) -> None:
    """Draw a report on standard output; where that is no screen, wide enough to be read by other programs."""
    from rich.console import Console

    report.show(Console(width=None if sys.stdout.isatty() else 200))


def build_parser(function: Callable[..., Any]) -> Any:
    """Make a verb's parser from its signature: a section per argument that is a class, an option per other argument."""
    from jsonargparse import ArgumentParser

    prog = f"hf-genomics {function.__name__.replace('_', '-')}"
    parser = ArgumentParser(
        prog=prog,
        usage=f"{prog} [--config x.yaml] [--key value ...]",
        description=(inspect.getdoc(function) or "").split("\n\nArgs:")[0],
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="YAML file with these options; options on the line win")
    hints = typing.get_type_hints(function)
    sections = {name for name, kind in hints.items() if name != "return" and _is_section(kind)}
    parser.add_function_arguments(function, as_group=False, skip=set(sections))
    _describe_together(parser, function)
    for name in (name for name in inspect.signature(function).parameters if name in sections):
        parser.add_class_arguments(hints[name], name, skip=_NOT_OPTIONS.get(name, set()), fail_untyped=False)
        _describe_together(parser, hints[name], f"{name}.")
    for source, target in _LINKS.items():
        if {source.split(".")[0], target.split(".")[0]} <= sections:
            parser.link_arguments(source, target)
    if {"tokenizer", "masking"} <= sections:
        parser.link_arguments("tokenizer", "masking.tokenizer", apply_on="instantiate")
    for name in (name for name in sections if hints[name].__name__ in ("TrainingArguments", "PretrainingArguments")):
        parser.set_defaults({f"{name}.{key}": value for key, value in _trainer_defaults().items()})
    return parser


def _describe_together(parser: Any, documented: Callable[..., Any], prefix: str = "") -> None:
    """Give options the help that their docstring has for several at once: ``k, stride: of the tokenizer``."""
    import docstring_parser  # comes with jsonargparse[signatures]

    params = docstring_parser.parse(inspect.getdoc(documented) or "").params
    texts = {f"{prefix}{name.strip()}": param.description for param in params for name in param.arg_name.split(",")}
    for action in parser._actions:
        action.help = action.help or texts.get(action.dest)


def _gather_lists(words: list[str], function: Callable[..., Any]) -> list[str]:
    """Let a list be written as the shell expands it: ``--fasta a.fa b.fa`` becomes ``--fasta ["a.fa", "b.fa"]``.

    Words that belong to no option are the verb's first argument where that is a list, or one word: ``check a.fa b.fa``,
    ``convert folder``.
    """
    hints = typing.get_type_hints(function)
    sections = [(name, kind) for name, kind in hints.items() if _is_section(kind)]
    while sections:
        section, kind = sections.pop()
        if dataclasses.is_dataclass(kind) and kind.__module__.startswith(f"{__package__}."):
            inner = {f"{section}.{key}": hint for key, hint in _field_hints(kind).items()}
            hints |= inner
            sections += [(name, hint) for name, hint in inner.items() if _is_section(hint)]
    lists = {f"--{name}": "float" in str(kind) for name, kind in hints.items() if "list[" in str(kind)}
    first, is_word = f"--{next(iter(hints), '')}", next(iter(hints.values()), None) is str
    gathered: list[str] = []
    loose: list[str] = []
    while words:
        word, words = words[0], words[1:]
        if (first in lists or is_word) and not word.startswith("-"):
            loose.append(word)
            continue
        gathered.append(word)
        if word in lists and words and not words[0].startswith("["):
            count = next((place for place, item in enumerate(words) if item.startswith("--")), len(words))
            gathered.append(json.dumps([_number(item) if lists[word] else item for item in words[:count]]))
            words = words[count:]
        elif "=" not in word and words and not words[0].startswith("--"):
            gathered, words = [*gathered, words[0]], words[1:]
    if loose and any(word.split("=")[0] == first for word in gathered):
        raise InputError(f"{first}: given by name and without ({loose[0]}); use one of the two")
    if is_word and len(loose) > 1:
        raise InputError(f"{first} is {loose[0]}, so what is {loose[1]}? Name an option before it")
    return [first, loose[0] if is_word else json.dumps(loose), *gathered] if loose else gathered


def _field_hints(kind: Any) -> dict[str, Any]:
    """Return the types of a dataclass's fields; as text where they can only be read by a type checker."""
    try:
        return typing.get_type_hints(kind)
    except NameError:
        return {field.name: field.type for field in dataclasses.fields(kind)}


def _number(word: str) -> str | float:
    try:
        return float(word)
    except ValueError:
        return word


def _is_section(kind: Any) -> bool:
    return inspect.isclass(kind) and kind.__module__.startswith(("hf_genomics", "transformers"))


def _trainer_defaults() -> dict[str, Any]:
    """Name no output folder, train on the CPU where there is no accelerator, in bf16 where faster; bars on screens."""
    import torch

    accelerated = torch.accelerator.is_available()
    fast = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else not accelerated and _cpu_gains_by_bf16()
    quiet = not sys.stderr.isatty()
    return {"output_dir": None, "use_cpu": not accelerated, "bf16": fast, "disable_tqdm": quiet}


def _cpu_gains_by_bf16() -> bool:
    """Tell whether this CPU trains faster in bf16: with AMX or AMD's AVX512-BF16; Intel's is slower than fp32."""
    import torch

    has_amx, has_avx = (
        getattr(torch.cpu, check, bool)() for check in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    )
    return has_amx or (has_avx and _cpu_vendor() == "AuthenticAMD")


def _cpu_vendor() -> str:
    """Name the maker of the CPU as Linux does; "" elsewhere."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            found = re.search(r"^vendor_id\s*:\s*(\S+)", file.read(1 << 16), re.MULTILINE)
    except OSError:
        return ""
    return found.group(1) if found else ""


def _build(parser: Any, words: list[str]) -> dict[str, Any]:
    """Parse, then build the objects; whatever a constructor refuses is the user's mistake."""
    from argparse import ArgumentError

    try:
        _refuse_linked(_config_file(words), parser)
        parsed = parser.parse_args(words)
    except (ArgumentError, OSError, UnicodeError) as error:
        raise InputError(_explain(str(error), parser, _config_file(words))) from error
    if "trainer" in parsed and parsed.trainer.output_dir is None:  # transformers would write to ./trainer_output
        raise InputError("trainer.output_dir is not set: name the folder for the model, such as runs/x")
    try:
        built = parser.instantiate(parsed) if hasattr(parser, "instantiate") else parser.instantiate_classes(parsed)
    except InputError:
        raise
    except Exception as error:  # a constructor's own check: StrictDataclassError is no ValueError
        raise InputError(_name_keys(_last_line(error), parsed.get("trainer", {}))) from error
    return {name: value for name, value in vars(built).items() if name != "config"}


def _name_keys(line: str, trainer: Any) -> str:
    """Name the keys of TrainingArguments in its own complaints as a user writes them.

    >>> _name_keys("lineer is not a valid SchedulerType, please select one of ['linear', 'cosine']",
    ...            {"lr_scheduler_type": "lineer"})
    "trainer.lr_scheduler_type must be one of 'linear', 'cosine', not 'lineer'; did you mean 'linear'?"
    >>> _name_keys("--tf32 requires Ampere or a newer GPU", {"tf32": True})
    'trainer.tf32 requires Ampere or a newer GPU'
    """
    keys = dict(trainer.items())
    unknown = re.match(r"(.+) is not a valid \w+, please select one of \[(.*)\]", line)
    if unknown:
        value, known = unknown.groups()
        names = [f"trainer.{key}" for key, given in keys.items() if str(given) == value] or ["a value"]
        hint = _suggest(value, re.findall(r"[\w.-]+", known))
        return f"{names[0]} must be one of {known}, not {value!r}{hint}"
    line = re.sub(r"\b[A-Z]\w+Strategy\.(\w+)", lambda match: match.group(1).lower(), line)
    telling = "|".join(sorted((key for key in keys if "_" in key or key in _SHORT_KEYS), key=len, reverse=True))
    return re.sub(rf"(?<![\w.])[`-]*(?:args\.)?({telling})\b`?", r"trainer.\1", line) if telling else line


def _refuse_linked(config: str, parser: Any) -> None:
    """Refuse keys of a YAML file that follow another key; the parser would overrule them without a word."""
    import yaml

    if not os.path.isfile(config):
        return
    try:
        with open(config, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except yaml.YAMLError:
        return  # the parser says it better
    known = {action.dest.split(".")[0] for action in parser._actions}
    for source, target in _LINKS.items():
        section, key = target.split(".")
        inside = content.get(section) if isinstance(content, dict) else None
        if source.split(".")[0] in known and isinstance(inside, dict) and key in inside:
            raise InputError(f"{config}: {target} follows {source}; set {source} alone")


def _config_file(words: list[str]) -> str:
    """Name the YAML file of a command line, for messages about the file as a whole."""
    named = [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
    named += [following for word, following in zip(words, words[1:], strict=False) if word == "--config"]
    return named[-1] if named else "--config"


def _explain(message: str, parser: Any, config: str) -> str:
    """Turn the parser's message into one line, with the nearest key where one is unknown."""
    line = " ".join(message.split())
    known = [action.dest for action in parser._actions]
    unknown = re.search(r"unrecognized arguments: --(\S+)", line) or re.search(r"does not accept option '(\S+?)'", line)
    unknown = unknown or re.search(r'[Kk]ey "?\'?([\w.]+)\'?"? is not expected', line)
    unknown = unknown or re.search(r"Option '(\S+?)' is not accepted", line)
    if not unknown:
        return _tidy(line, config)
    word = unknown.group(1)
    section = re.search(r"Group '(\w+)'", line)
    full = f"{section.group(1)}.{word}" if section else word
    return f"unknown key {full!r}{_suggest(full, known)}"


def _tidy(line: str, config: str) -> str:
    """Name the place before the complaint, and types as a user would."""
    if re.match(r"Problems parsing config|Unexpected config", line):
        return f"{config}: not a YAML file of keys and values ({line}); mend it, recipes/ has examples"
    if "expected one argument" in line:
        line += "; give the value behind it, a negative number as --key=-1"
    line = re.sub(
        r"Does not validate against any of the Union subtypes Subtypes: \[(.*?)\] Errors: .* Given value: (.*)$",
        lambda match: f"Expected a {match.group(1).replace('NoneType', 'null')}. Got value: {match.group(2)}",
        line,
    )
    line = re.sub(r'^Key "(\w+)\.\w+" not found in namespace.*', r"\1: is a section; indent its keys below it", line)
    line = re.sub(r"<class '([\w.]+)'>", r"\1", re.sub(r"(\ba )?typing\.Literal", "one of ", line))
    return re.sub(r'^Parser key "([\w.]+)":', r"\1:", line)


def _suggest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if type(error).__name__.startswith("StrictDataclass") else " ".join(lines)
    return re.sub(r"^\w+Error: ", "", text)


def _complain(message: str, code: int = 2) -> int:
    """Say in one line why this process ends; of several processes the first says what concerns all.

    Its end makes the launcher end the others, so they wait for that, and speak only if it does not come: then the fault
    is theirs alone. Where another process has ended before (code 1), the first waits too, once it has spoken: the
    launcher is to find the one that ended first.
    """
    if _rank() > 0:
        _wait_to_be_ended()
    sys.stderr.write(f"hf-genomics: error: {message}\n")
    if code == 2:
        _tell_launcher(f"hf-genomics: error: {message}")
    elif code == 1 and _rank() == 0:
        _wait_to_be_ended()
    return code


def _wait_to_be_ended() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        time.sleep(_PATIENCE)


def _tell_launcher(line: str) -> None:
    """Leave a line where torch.distributed.run and accelerate look for it: they end with a report, which gives it."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not file:
        return
    facts = {"message": line, "extraInfo": {"py_callstack": line, "timestamp": str(int(time.time()))}}
    with contextlib.suppress(OSError), open(file, "w", encoding="utf-8") as report:
        json.dump({"message": facts}, report)


def _rank() -> int:
    """Tell which of several processes of a run this one is."""
    return int(os.environ.get("RANK", "0"))


def _set_up_logging() -> None:
    """Say what happens on standard error, progress bars only on a screen, and keep local work local."""
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")  # datasets counts downloads, of local files too
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers' bars of reading and writing weights
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    talkative = _rank() == 0  # of several processes one is enough
    logging.getLogger("hf_genomics").setLevel(logging.INFO if talkative else logging.WARNING)


def _table(result: dict[str, Any]) -> str:
    """Write the numbers of a result, nested ones indented."""
    lines = []
    for name, value in result.items():
        if isinstance(value, dict):
            lines += [f"{name}:"] + [f"  {line}" for line in _table(value).splitlines()]
        else:
            lines.append(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}")
    return "\n".join(lines) + "\n"


def _overview() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {what}" for verb, what in VERBS.items())
    return (
        f"usage: hf-genomics VERB [--config x.yaml] [--key value ...]\n\n{verbs}\n\n"
        "hf-genomics VERB --help lists the keys of a verb.\n"
    )


def entry() -> NoReturn:
    """Run as a script."""
    sys.exit(main())
