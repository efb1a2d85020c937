"""Read the files of a saved model without trusting them: JSON with limits, shard indices, headers of weight files.

A model folder may come from anybody, and a copy may be incomplete. Everything here is checked before a model is built
or a weight is loaded, and each message names the file. Only headers are read: the checks take milliseconds for any
model.
"""

import json
import math
import os
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

#: Limits of a JSON file: bytes, and levels of nesting. The longest configuration that this package writes, with the
#: names of 131,072 classes, has 10 MB and four levels.
MOST_BYTES, DEEPEST = 16 * 2**20, 32
#: Largest header of a safetensors file, in bytes: the limit of the safetensors library.
_MOST_HEADER = 100_000_000
#: Type of a tensor in a safetensors file -> bits of a number.
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    "F4": 4,
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
}
#: Types that weights of an encoder may have.
_FLOATS = ("F64", "F32", "F16", "BF16", "float64", "float32", "float16", "bfloat16")
#: Former name of the weights of a LayerNorm, in BERT checkpoints -> name today.
_FORMER_ENDINGS = {".gamma": ".weight", ".beta": ".bias"}
#: Weight file -> index of a model in several files, in the order in which transformers looks for them.
_INDEX_OF = {"model.safetensors": "model.safetensors.index.json", "pytorch_model.bin": "pytorch_model.bin.index.json"}


class StoredTensor(NamedTuple):
    """A tensor of a weight file, known from the file's header.

    Attributes:
        file: the weight file.
        dtype: type of its numbers, as the file names it.
        shape: its shape.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]


# JSON.


def parse_json(text: str | bytes, source: str | os.PathLike) -> Any:
    """Parse JSON that may come from anybody.

    Args:
        text: the JSON text.
        source: name of its file, for messages.

    Raises:
        ValueError: if it is not JSON, gives a key twice, contains NaN or an infinite number, or is nested too deeply;
            the message names the file.
    """
    try:
        return _parse(text)
    except ValueError as error:
        raise ValueError(f"{source}: not a valid JSON file ({_one_line(error)}); copy or save it again") from error


def _parse(text: str | bytes) -> Any:
    """Parse JSON, as `parse_json` does, but raise ValueError without the name of the file."""
    try:
        # ValueErrors of json: JSONDecodeError, UnicodeDecodeError, and numbers of thousands of digits.
        content = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} levels deep") from None
    if depth_of(content) > DEEPEST:
        raise ValueError(f"nested more than {DEEPEST} levels deep")
    return content


def read_json(path: str | os.PathLike, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Read a file that must hold a JSON object.

    Args:
        path: the file.
        most_bytes: largest size of the file.

    Raises:
        ValueError: if the file is too large, is not JSON in UTF-8, or holds anything but an object; see
            `parse_json`.
        OSError: if the file cannot be read.
    """
    with open(path, "rb") as file:
        # Read no more than the file has, because read(n) allocates n bytes at once.
        data = file.read(min(most_bytes, os.fstat(file.fileno()).st_size) + 1)
    if len(data) > most_bytes:
        raise ValueError(
            f"{path}: has more than {most_bytes:,} bytes, far more than such a file needs; copy or save it again"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not a valid JSON file (not text in UTF-8: {error.reason}); save it as UTF-8"
        ) from error
    content = parse_json(text, path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a {type(content).__name__}, not a JSON object; copy or save it again")
    return content


def depth_of(content: Any) -> int:
    """Return how deeply lists and dictionaries are nested; 0 for a plain value.

    >>> depth_of({"a": [1, [2]]}), depth_of(1)
    (3, 0)
    """
    depth, level = 0, [content]
    while level := [value for value in level if isinstance(value, dict | list)]:  # a loop: recursion has a limit
        depth += 1
        if depth > DEEPEST:
            break
        level = [inner for value in level for inner in (value.values() if isinstance(value, dict) else value)]
    return depth


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build the dictionary of a JSON object; of two equal keys, Python would keep the last without a warning."""
    content = dict(pairs)
    if len(content) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"the key {twice[:60]!r} is given twice")
    return content


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")


def _finite(digits: str) -> float:
    """Return a number with a fraction or an exponent; Python would read 1e999 as infinite without a warning."""
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:60]} is too large a number")
    return number


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


# Weight files.


def weight_files(folder: Path) -> list[Path]:
    """List the weight files of a folder that transformers would load; [] if it has none.

    Args:
        folder: folder of the model.

    Raises:
        ValueError: if the index of a model in several files is damaged, or names a file that is missing or outside
            the folder. A file outside the folder is never opened.
    """
    for name, index in _INDEX_OF.items():
        if (folder / name).exists():
            return [folder / name]
        if (folder / index).exists():
            return [folder / shard for shard in read_index(folder / index)]
    return []


def read_index(path: Path) -> dict[str, list[str]]:
    """Read the index of a model that is saved in several files.

    Args:
        path: the file ``model.safetensors.index.json``, or the one for pickles.

    Returns:
        The names of the weights in each file, by the name of the file.

    Raises:
        ValueError: if the file is not such an index, or names a file that is missing or outside its folder.
    """
    content = read_json(path)
    places, metadata = content.get("weight_map"), content.get("metadata", {})
    if not isinstance(places, dict) or not places:
        raise ValueError(f"{path}: 'weight_map' must be an object that names the file of each weight; save it again")
    if not isinstance(metadata, dict):
        raise ValueError(f"{path}: 'metadata' must be an object, not {metadata!r:.60}; save it again")
    if "metadata" not in content:  # transformers reads it
        raise ValueError(f"{path}: 'metadata' is missing; save it again")
    shards: dict[str, list[str]] = {}
    for weight, shard in places.items():
        if not isinstance(shard, str):
            raise ValueError(f"{path}: the file of {weight!r:.60} must be a string, not {shard!r:.60}; save it again")
        shards.setdefault(shard, []).append(weight)
    for shard in shards:
        _check_shard(path, shard)
    return shards


def _check_shard(index: Path, shard: str) -> None:
    """Raise ValueError unless a name in an index is that of a file in the same folder."""
    if shard in ("", ".", "..") or set(shard) & set("/\\:\0") or not shard.endswith((".safetensors", ".bin")):
        raise ValueError(
            f"{index}: names the weight file {shard!r:.60}, which is not the name of a file in this folder; nothing "
            "was loaded: download or copy the folder again"
        )
    file = index.parent / shard
    real, home = Path(os.path.realpath(file)), Path(os.path.realpath(index.parent))
    # In the Hub's cache, the files of a snapshot are links to the folder `blobs` beside `snapshots`.
    allowed = {home, home.parent.parent / "blobs"} if home.parent.name == "snapshots" else {home}
    if real.parent not in allowed:
        raise ValueError(
            f"{index}: the weight file {shard} is a link out of this folder, to {real}; nothing was loaded: copy the "
            "file itself here"
        )
    if not file.is_file():
        raise ValueError(f"{index}: the weight file {shard} is missing; copy it here")


def read_tensors(path: Path) -> dict[str, StoredTensor]:
    """Read the header of a safetensors file, and check that the file is complete.

    Args:
        path: the file.

    Returns:
        Its tensors by name.

    Raises:
        ValueError: if the file is empty, cut or damaged; the message names it.

    Source: the format of https://huggingface.co/docs/safetensors: 8 bytes with the length of the header, the header in
    JSON, and the numbers of all tensors without gaps.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(size - 8, _MOST_HEADER):
            raise ValueError(_damaged(path, f"it has {size:,} bytes, and its first 8 are not the length of a header"))
        header = file.read(length)
    try:
        entries = _parse(header.decode("utf-8"))
        entries.pop("__metadata__", None)
        found = {name: _stored(path, entry) for name, entry in entries.items()}
        ends = sorted(tuple(entry["data_offsets"]) for entry in entries.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"its header is not that of a safetensors file: {_one_line(error)}"
        raise ValueError(_damaged(path, why)) from error
    place = 0
    for begin, end in ends:
        if begin != place:
            raise ValueError(_damaged(path, f"the tensors at byte {begin:,} of the data overlap or leave a gap"))
        place = end
    if place != size - 8 - length:
        raise ValueError(_damaged(path, f"it has {size:,} bytes, its header says {place + 8 + length:,}"))
    return found


def _stored(path: Path, entry: dict[str, Any]) -> StoredTensor:
    """Read the entry of a tensor; raise ValueError if type, shape and place do not fit together."""
    (begin, end), shape, dtype = entry["data_offsets"], entry["shape"], entry["dtype"]
    if not all(type(number) is int and number >= 0 for number in (begin, end, *shape)):
        raise ValueError("a shape or a place is not a whole number")
    if dtype not in _BITS:
        raise ValueError(f"{dtype!r:.30} is not a known number type")
    if 8 * (end - begin) != math.prod(shape) * _BITS[dtype]:
        raise ValueError(f"a tensor of shape {shape} and type {dtype} does not have {end - begin:,} bytes")
    return StoredTensor(path, dtype, tuple(shape))


def _damaged(path: Path, why: str) -> str:
    return f"{path}: the weights are damaged ({why}); copy or save them again"


def check_shards(folder: Path) -> None:
    """Check the tensors of each safetensors file of a folder against its index.

    Args:
        folder: folder of the model.

    Raises:
        ValueError: if a file is damaged, or does not hold a weight that the index says it holds.
    """
    index = folder / _INDEX_OF["model.safetensors"]
    if (folder / "model.safetensors").exists() or not index.exists():
        return
    for shard, weights in read_index(index).items():
        found = read_tensors(folder / shard)
        if missing := [weight for weight in weights if weight not in found]:
            raise ValueError(
                f"{folder / shard}: {missing[0]} is missing, which {index.name} says is in this file; copy both again"
            )


def check_tensors(tensors: Iterable[tuple[str, StoredTensor]], shapes: dict[str, tuple[int, ...]], source: str) -> None:
    """Check that the weights of an encoder are all there, and have the sizes that its configuration says.

    Args:
        tensors: name and header of each tensor in the weight files.
        shapes: shape of each weight of the encoder by its name; see `saved_settings.encoder_shapes`.
        source: name of the weight file, or of the index, for messages.

    Raises:
        ValueError: naming the file and the weight.
    """
    found = {_encoder_name(name): (name, tensor) for name, tensor in tensors}
    for name, (stored_name, tensor) in found.items():
        if name in shapes and tensor.shape != shapes[name]:
            raise ValueError(
                f"{tensor.file}: {stored_name} has shape {list(tensor.shape)}, but according to config.json it should "
                f"be {list(shapes[name])}; fix config.json"
            )
        if name in shapes and tensor.dtype not in _FLOATS:
            raise ValueError(
                f"{tensor.file}: {stored_name} has numbers of type {tensor.dtype}, not floating-point numbers of 16, "
                "32 or 64 bits; save the weights as float32"
            )
        if name.startswith("encoder.layer.") and name not in shapes and _layer(name) not in _layers(shapes):
            raise ValueError(
                f"{tensor.file}: has {stored_name}, but by config.json the model has only {len(_layers(shapes))} "
                "layers (num_hidden_layers); fix config.json"
            )
    if missing := [name for name in shapes if name not in found]:
        prefix = "bert." if any(name.startswith("bert.") for name, _ in found.values()) else ""
        first = prefix + sorted(missing)[0]
        raise ValueError(
            f"{source}: {len(missing)} of {len(shapes)} weights of the encoder are missing ({first} ...); the "
            "checkpoint is damaged or of another architecture"
        )


def _encoder_name(name: str) -> str:
    """Return today's name of a weight within the encoder."""
    name = name.removeprefix("bert.")
    for former, current in _FORMER_ENDINGS.items():
        if name.endswith(f"LayerNorm{former}"):
            return name.removesuffix(former) + current
    return name


def _layer(name: str) -> str:
    return name.split(".")[2]


def _layers(shapes: Iterable[str]) -> set[str]:
    return {_layer(name) for name in shapes if name.startswith("encoder.layer.")}
