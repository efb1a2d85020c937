"""The parser of a verb, built from the signature of its function."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import typing
from collections.abc import Callable
from typing import Any

# Section -> arguments of its class that are not options, because another section or the framework sets them.
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
# Key that users set -> key that takes the same value.
LINKS = {"tokenizer.k": "model.k", "tokenizer.stride": "model.stride", "trainer.seed": "masking.seed"}


def verb_name(function: Callable[..., Any]) -> str:
    """Return the name of a verb on the command line; in Python it has underscores instead of hyphens."""
    return function.__name__.replace("_", "-")


def build_parser(function: Callable[..., Any]) -> Any:
    """Build the parser of a verb from its signature: a section for each argument that is an object, else an option."""
    from jsonargparse import ArgumentParser  # slow to import, and not needed for `hf-genomics --help`

    prog = f"hf-genomics {verb_name(function)}"
    parser = ArgumentParser(
        prog=prog,
        usage=f"{prog} [--config x.yaml] [--key value ...]",
        description=(inspect.getdoc(function) or "").split("\n\nArgs:")[0],
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="YAML file with these options; options after it win")
    sections = sections_of(function)
    parser.add_function_arguments(function, as_group=False, skip=set(sections))
    for name, kind in sections.items():
        parser.add_class_arguments(kind, name, skip=_NOT_OPTIONS.get(name, set()), fail_untyped=False)
        if any(base.__name__ == "TrainingArguments" for base in kind.__mro__):
            parser.set_defaults({f"{name}.{key}": value for key, value in trainer_defaults().items()})
    for source, target in LINKS.items():
        if {source.split(".")[0], target.split(".")[0]} <= sections.keys():
            parser.link_arguments(source, target)
    if {"tokenizer", "masking"} <= sections.keys():
        parser.link_arguments("tokenizer", "masking.tokenizer", apply_on="instantiate")
    return parser


def sections_of(function: Callable[..., Any]) -> dict[str, type]:
    """Return the arguments of a function that are sections, and the class of each."""
    hints = typing.get_type_hints(function)
    return {name: hints[name] for name in inspect.signature(function).parameters if is_section(hints[name])}


def is_section(kind: Any) -> bool:
    """Return whether an argument of this type is a section: a dataclass, or a class of this package or transformers."""
    return inspect.isclass(kind) and (
        dataclasses.is_dataclass(kind) or kind.__module__.startswith(("hf_genomics.", "transformers."))
    )


@functools.cache
def types_of(owner: Callable[..., Any], prefix: str = "") -> tuple[tuple[str, Any], ...]:
    """Return the keys of a function or class and their types; a section that is a dataclass precedes its keys."""
    found: list[tuple[str, Any]] = []
    try:
        hints = typing.get_type_hints(owner)
    except NameError:  # a class of transformers that imports torch for type checkers only
        hints = {field.name: field.type for field in dataclasses.fields(typing.cast(Any, owner))}
    for name, kind in hints.items():
        if name != "return":
            found.append((f"{prefix}{name}", kind))
            if is_section(kind) and dataclasses.is_dataclass(kind):
                found += types_of(typing.cast(Any, kind), f"{prefix}{name}.")
    return tuple(found)


def is_list(kind: Any) -> bool:
    """Return whether a type is a list, or a list or None; ``str | list[str]`` does not count."""
    text = str(kind).removeprefix("typing.").removeprefix("Optional[").removesuffix(" | None")
    return text.startswith("list[")


def trainer_defaults() -> dict[str, Any]:
    """Return the defaults of ``trainer`` that depend on the machine.

    No output folder is set. Training runs on the CPU if there is no accelerator, and in bf16 where that is faster.
    Progress bars appear only in a terminal.
    """
    import torch

    accelerated = torch.accelerator.is_available()
    fast = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else not accelerated and _is_bf16_faster()
    return {"output_dir": None, "use_cpu": not accelerated, "bf16": fast, "disable_tqdm": not sys.stderr.isatty()}


def _is_bf16_faster() -> bool:
    """Return whether this CPU trains faster in bf16 than in fp32.

    It does with AMX, and with AVX512-BF16 on a CPU by AMD. On Intel's CPUs AVX512-BF16 without AMX is slower than fp32.
    """
    import torch

    facts: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # missing in some supported versions
    is_amd = str(facts.get("cpu_name", "")).startswith("AMD")
    return bool(facts.get("amx_tile") or (facts.get("avx512_bf16") and is_amd))
