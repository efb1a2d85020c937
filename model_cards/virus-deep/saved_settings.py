"""What a saved configuration may hold: a bound for every size, and the fields of a config.json that are taken over.

A config.json may come from anybody. Whoever builds a model reads its sizes, and transformers reads many more fields:
some name code or kernels to load, others fail deep inside with a TypeError. So all of them are checked before anything
is built from them. A field is taken over if it is known and of the right type; every other field is refused by name,
unless its value switches nothing on.
"""

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from transformers import GenerationConfig, PreTrainedConfig

#: Setting -> its largest value. The smallest values are checked by the configurations themselves. Each bound is far
#: beyond any model of DNA that exists; without it, one digit too many would fill the memory or never end.
LARGEST: dict[str, float] = {
    "k": 100,  # the configuration itself allows 12; this bound is for 4^k, which it computes first
    "stride": 2**20,
    "vocab_size": 2**25,  # 4^12 k-mers are half of it
    "hidden_size": 2**16,
    "num_hidden_layers": 1000,
    "num_attention_heads": 2**12,
    "intermediate_size": 2**20,
    "max_position_embeddings": 2**30,
    "sliding_window": 2**30,
    "type_vocab_size": 1024,
    "max_sequence_length": 2**40,
    "num_labels": 2**17,
    "num_parts": 2**16,
    "part_layers": 1000,
    "part_length": 2**40,
    "fusion_layers": 1000,
    "global_attention_every": 1000,  # of version 0.1
    "chunk_size_feed_forward": 2**30,
    "pad_token_id": 2**25,
    "hidden_dropout_prob": 1,
    "attention_probs_dropout_prob": 1,
    "classifier_dropout": 1,
    "initializer_range": 1000,
    "layer_norm_eps": 1,
    "rope_theta": 1e12,
    "focal_gamma": 1000,
    "decision_threshold": 1,
}
#: Settings that hold one value for each label, track or layer -> the largest number of values.
MOST_VALUES: dict[str, int] = {
    **dict.fromkeys(("id2label", "label2id", "class_weights", "target_means", "target_scales"), 2**17),
    **{f"{kind}_{what}": 2**16 for kind in ("track", "nt_track") for what in ("names", "means", "stds")},
    "layer_types": 1000,
    "architectures": 100,
}
#: Largest number of weights of a model: 256 GiB in float32.
MOST_WEIGHTS = 2**36
#: Numbers below this are refused here. Other negative sizes, such as -1, are left to the configurations, whose messages
#: print the number; Python would refuse to print one of thousands of digits.
LOWEST = -(2**40)
LONGEST_NAME = 1000  # characters of a label or a track

#: Settings of `LARGEST` that need not be whole numbers.
_NOT_WHOLE = (
    "hidden_dropout_prob attention_probs_dropout_prob classifier_dropout initializer_range layer_norm_eps rope_theta "
    "focal_gamma decision_threshold".split()
)
# Kinds of values, as messages name them. An object is a JSON object, which Python reads as a dict.
_WHOLE, _NUMBER, _TEXT, _YES_NO = "a whole number", "a number", "a string", "true or false"
_LIST_OF_TEXTS, _LIST_OF_NUMBERS = "a list of strings", "a list of numbers"
_OBJECT_OF_TEXTS, _OBJECT_OF_WHOLE = "an object of strings", "an object of whole numbers"


def is_whole(value: Any) -> bool:
    """Check whether a value is a whole number; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Check whether a value is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _all_in_list(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return a function that checks whether a value is a list whose entries all pass a check."""
    return lambda value: isinstance(value, list) and all(map(check, value))


def _all_in_object(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return a function that checks whether a value is a dictionary whose values all pass a check."""
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    _WHOLE: is_whole,
    _NUMBER: is_number,
    _TEXT: _is_text,
    _YES_NO: lambda value: isinstance(value, bool),
    _LIST_OF_TEXTS: _all_in_list(_is_text),
    _LIST_OF_NUMBERS: _all_in_list(is_number),
    _OBJECT_OF_TEXTS: _all_in_object(_is_text),
    _OBJECT_OF_WHOLE: _all_in_object(is_whole),
}
#: Field of a config.json -> what its value must be, unless it is null.
KINDS: dict[str, str] = {
    **{name: _NUMBER if name in _NOT_WHOLE else _WHOLE for name in LARGEST},
    **dict.fromkeys(
        "model_type hidden_act position_embedding_type initialisation classifier_pooling labels_per problem_type "
        "aggregation transformers_version dtype torch_dtype name_or_path _name_or_path _commit_hash "
        "attn_implementation".split(),
        _TEXT,
    ),
    **dict.fromkeys(
        "output_attentions output_hidden_states return_dict use_cache is_encoder_decoder is_decoder "
        "add_cross_attention tie_word_embeddings sparse_prediction paired _attn_implementation_autoset".split(),
        _YES_NO,
    ),
    **dict.fromkeys("bos_token_id eos_token_id sep_token_id cls_token_id _num_labels".split(), _WHOLE),
    **dict.fromkeys("architectures layer_types track_names nt_track_names".split(), _LIST_OF_TEXTS),
    **dict.fromkeys(
        "class_weights target_means target_scales track_means track_stds nt_track_means nt_track_stds".split(),
        _LIST_OF_NUMBERS,
    ),
    "auto_map": _OBJECT_OF_TEXTS,
    "id2label": _OBJECT_OF_TEXTS,
    "label2id": _OBJECT_OF_WHOLE,
}
#: Field -> the values that it may have in a file.
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "dtype": ("float32", "float16", "bfloat16", "float64"),  # transformers would look any other name up in torch
    "torch_dtype": ("float32", "float16", "bfloat16", "float64"),
    # Other names load kernels, from this machine or from the Hub. That is the caller's choice, not the file's.
    "attn_implementation": ("eager", "sdpa", "flex_attention"),
    "problem_type": ("regression", "single_label_classification", "multi_label_classification"),
    "return_dict": (True,),  # the models read the outputs of their submodules by name
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
}
#: Further fields of a config.json by which transformers or peft would load, change or convert something. The list need
#: not be complete, because `check_saved` refuses every unknown field. If `is_acted_upon` holds for a field, the message
#: also says why.
_ACTED_UPON = frozenset(
    "adapters attention_dropout backbone_config codec_config compression_config configuration_files custom_pipelines "
    "decoder distributed_config embed_dim encoder experts_implementation fusion_config gradient_checkpointing head_dim "
    "hidden_sizes init_std initializer_factor is_causal kernel_config loss_type mlp_layer_types mtp_layer_types "
    "num_heads num_local_experts peft_config per_layer_config prefix processor_class pruned_heads quantization_config "
    "rope_parameters sub_configs task_specific_params text_config tie_encoder_decoder tie_last_hidden_states "
    "tokenizer_class torchscript transformers_weights use_bfloat16 use_kernels vision_config".split()
)
_REFERENCE = re.compile(r"\w+\.\w+")  # module.Class of an auto_map
#: Values of an unknown field that switch nothing on; 0 is one of them, because it equals False. Older versions of
#: transformers wrote such fields into every file, and so may later versions of this package.
_HARMLESS: tuple[Any, ...] = (None, False, {}, [], "")
#: Fields of older versions of transformers whose default is another value, and that default.
_FORMER_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("num_beams", "num_beam_groups", "num_return_sequences"), 1),
    **dict.fromkeys(("temperature", "top_p", "typical_p", "repetition_penalty", "length_penalty"), 1.0),
    "max_length": 20,
    "top_k": 50,
    "output_past": True,
}
#: Fields of older versions of transformers that never had an effect on a model.
_WITHOUT_EFFECT = frozenset(("finetuning_task", "xla_device", "cross_attention_hidden_size"))


def shown(value: Any, width: int = 30) -> str:
    """Return a value for a message: on one line, shortened, and also for whole numbers that Python refuses to print.

    >>> shown("x" * 100, width=10), shown(10**5000)
    ("'xxxxxx...'", 'a number of more than 5000 digits')
    """
    if is_whole(value) and value.bit_length() > 200:
        return f"a number of more than {int(value.bit_length() * math.log10(2))} digits"
    if isinstance(value, str):
        return repr(value if len(value) <= width else value[: width - 4] + "...")
    if isinstance(value, dict | list):
        try:
            value = repr(value)
        except (ValueError, RecursionError):
            return "a value that is too large to print"
        return value if len(value) <= width else value[: width - 3] + "..."
    if isinstance(value, int | float | None):
        return str(value)
    text = " ".join(repr(value).split())  # of another package: np.int64(2)
    if type(value).__module__ == "numpy" and text == str(value):  # numpy 1 shows this number as 2
        text = f"np.{type(value).__name__}({text})"
    return text if len(text) <= width else text[: width - 3] + "..."


def check_bounds(settings: Mapping[str, Any]) -> None:
    """Check that no number and no list of a configuration is too large, before anything is built from it.

    Values of a wrong type are skipped; the configuration's own check of types names them.

    Args:
        settings: the settings, under today's names.

    Raises:
        ValueError: naming the setting, its value and its bound.
    """
    for name, most in LARGEST.items():
        value: Any = settings.get(name)
        if not is_number(value):
            continue
        if value < LOWEST:
            raise ValueError(f"{name} must not be negative, but is {shown(value)}")
        if value > most:
            raise ValueError(f"{name} must be at most {most:,}, not {shown(value)}")
    for name, most in MOST_VALUES.items():
        values = settings.get(name)
        if isinstance(values, list | tuple | dict) and len(values) > most:
            raise ValueError(f"{name} must have at most {most:,} values, not {len(values):,}")
        for text in values if isinstance(values, list | tuple) else []:
            if isinstance(text, str) and len(text) > LONGEST_NAME:
                raise ValueError(f"{name}: a name may have {LONGEST_NAME} characters, {shown(text)} has {len(text):,}")
    labels = settings.get("num_labels")
    if labels is not None and not (is_whole(labels) and labels >= 1):
        raise ValueError(f"num_labels must be a whole number of at least 1, not {shown(labels)}")
    _check_label_names(settings.get("id2label"))


def _check_label_names(names: Any) -> None:
    """Check that the names of classes are strings, and numbered 0, 1, 2, ..."""
    if names is None:
        return
    if not isinstance(names, dict) or not names:
        raise ValueError(f"id2label must be an object with a name for each class, not {shown(names)}")
    numbers = {str(number) for number in range(len(names))}
    for number, name in names.items():
        if shown(number).strip("'") not in numbers:  # str() refuses a number of thousands of digits
            raise ValueError(f"id2label must number the classes 0 to {len(names) - 1}, not {shown(number)}")
        if not isinstance(name, str) or len(name) > LONGEST_NAME:
            raise ValueError(
                f"id2label: the name of class {number} must be a string of at most {LONGEST_NAME} characters, not "
                f"{shown(name)}"
            )


def check_types(settings: Mapping[str, Any]) -> None:
    """Check the types of the known fields of a config.json, and those values of which only a few are allowed.

    Args:
        settings: the content of the file.

    Raises:
        ValueError: naming the field, its value and what it must be.
    """
    for name, kind in KINDS.items():
        value = settings.get(name)
        if value is not None and not _CHECKS[kind](value):
            raise ValueError(f"{name!r} must be {kind}, not {shown(value)}")
    for name, allowed in _ALLOWED.items():
        value = settings.get(name)
        if value is not None and value not in allowed:
            raise ValueError(f"{name!r} must be {' or '.join(map(repr, allowed))} in a file, not {shown(value)}")
    for name, reference in (settings.get("auto_map") or {}).items():
        if not _REFERENCE.fullmatch(reference):
            raise ValueError(f"'auto_map' must name code of this folder (module.Class) for {name}, not {reference!r}")


def check_saved(settings: Mapping[str, Any], cls: type, fields: Collection[str]) -> None:
    """Check all fields of a config.json before a configuration is built from them.

    An unknown field is refused even if nothing would act upon it: it may be a setting of a later version, without which
    the model would compute something else.

    Args:
        settings: the content of the file, under today's names.
        cls: class of the configuration.
        fields: names of the fields that a file of that class may have.

    Raises:
        ValueError: naming a field that is unknown, of the wrong type, or too large.
    """
    check_types(settings)
    for name, value in settings.items():
        if name in fields or has_no_effect(name, value):
            continue
        what = f"{shown(name)} ({shown(value)}) is not a setting of a {cls.__name__}"
        if is_acted_upon(name, cls):
            raise ValueError(f"{what}, and transformers would act upon it; delete it from config.json")
        raise ValueError(
            f"{what}; update hf_genomics and transformers if a later version wrote it, or delete it from config.json "
            "(README.md is the place for notes)"
        )
    check_bounds(settings)
    _check_label_ids(settings.get("id2label") or {}, settings.get("label2id") or {})


def _check_label_ids(names: Mapping[str, str], ids: Mapping[str, int]) -> None:
    """Check that the classes of a config.json have one name each, and one number each."""
    seen: dict[str, str] = {}
    for number, name in names.items():
        if name in seen:
            raise ValueError(
                f"id2label gives the classes {seen[name]} and {number} the same name, {shown(name)}; rename one of them"
            )
        seen[name] = number
        if name in ids and str(ids[name]) != str(number):
            raise ValueError(
                f"{shown(name)} is class {ids[name]} in label2id, but class {number} in id2label; correct one of them"
            )


def has_no_effect(name: str, value: Any) -> bool:
    """Check whether a field that is not one of ours may be omitted, because its value switches nothing on.

    Args:
        name: name of the field.
        value: its value in the file.
    """
    if not isinstance(value, bool | int | float | str | list | dict | None):  # arrays cannot be compared like this
        return name in _WITHOUT_EFFECT
    is_former_default = name in _FORMER_DEFAULTS and value == _FORMER_DEFAULTS[name]
    return value in _HARMLESS or name in _WITHOUT_EFFECT or is_former_default


def is_acted_upon(name: str, cls: type = PreTrainedConfig) -> bool:
    """Check whether transformers would act upon a field of this name, or take it for one of its own.

    Args:
        name: name of the field.
        cls: class of the configuration; the names of its attributes and methods count as well.
    """
    return name in _ACTED_UPON or name.startswith("_") or hasattr(cls, name) or name in _generation_settings()


def _generation_settings() -> set[str]:
    """Return the names of transformers' settings for generating text, which no encoder has."""
    return set(vars(GenerationConfig()))


def encoder_shapes(config: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Iterate over the names and shapes of an encoder's weights, without the pooler.

    Args:
        config: the sizes of the model.
    """
    hidden = config.hidden_size
    # num_embeddings is vocab_size or, before that is filled in, what follows from k.
    tables = {"word_embeddings": config.num_embeddings, "token_type_embeddings": config.type_vocab_size}
    if config.position_embedding_type == "absolute":
        tables["position_embeddings"] = config.max_position_embeddings
    for name, rows in tables.items():
        yield f"embeddings.{name}.weight", (rows, hidden)
    yield "embeddings.LayerNorm.weight", (hidden,)
    yield "embeddings.LayerNorm.bias", (hidden,)
    for layer in range(config.num_hidden_layers):
        for name, shape in _layer_shapes(hidden, config.intermediate_size):
            yield f"encoder.layer.{layer}.{name}", shape


def _layer_shapes(hidden: int, wide: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Iterate over the names and shapes of the weights of one layer; ``wide`` is its intermediate size."""
    products = {f"attention.self.{name}": (hidden, hidden) for name in ("query", "key", "value")}
    products |= {"attention.output.dense": (hidden, hidden)}
    products |= {"intermediate.dense": (wide, hidden), "output.dense": (hidden, wide)}
    for name, shape in products.items():
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]
    for name in ("attention.output.LayerNorm", "output.LayerNorm"):
        yield f"{name}.weight", (hidden,)
        yield f"{name}.bias", (hidden,)


def count_weights(config: Any) -> int:
    """Count the weights of a model from its sizes: the encoder exactly, and the parts of its head that can be large.

    Args:
        config: the sizes of the model; sizes that only some models have count as 0 elsewhere.
    """
    encoder = sum(math.prod(shape) for _, shape in encoder_shapes(config))
    hidden = config.hidden_size
    layer = sum(math.prod(shape) for _, shape in _layer_shapes(hidden, config.intermediate_size))
    more_layers = getattr(config, "part_layers", 0) + getattr(config, "fusion_layers", 0)
    # Linear layers of a head, each to or from the hidden size: the classifier, the layer that joins the parts of a
    # sequence, and those that read tracks, two numbers for each track: its value, and whether it is missing.
    parts = getattr(config, "num_parts", 0) if getattr(config, "aggregation", None) == "concat" else 0
    tracks = sum(len(getattr(config, name, None) or []) for name in ("track_names", "nt_track_names"))
    head = hidden * ((config.num_labels or 0) + parts * hidden + 2 * tracks)
    return encoder + more_layers * layer + head


def check_weight_count(config: Any) -> None:
    """Check that a model has at most `MOST_WEIGHTS` weights, so that a file cannot ask for any amount of memory.

    Args:
        config: the sizes of the model, each within its bound.

    Raises:
        ValueError: naming the number of weights and the sizes that make it up.
    """
    weights = count_weights(config)
    if weights > MOST_WEIGHTS:
        raise ValueError(
            f"a model with hidden_size {config.hidden_size}, intermediate_size {config.intermediate_size}, "
            f"num_hidden_layers {config.num_hidden_layers}, vocab_size {config.num_embeddings} and "
            f"max_position_embeddings {config.max_position_embeddings} has {weights:.3g} weights; at most "
            f"{MOST_WEIGHTS:.3g} are possible"
        )
