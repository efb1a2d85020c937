"""Upload a model to the Hub: the verb `push`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id
from safetensors import SafetensorError, safe_open

from ..errors import InputError
from ..io.files import shorten
from ..loading.adapters import check_whole
from ..loading.model_folder import check_model_folder
from ..loading.models import check_finite
from ..reports.card_file import check_card

#: Files that are uploaded; the folder of a run holds more (training_args.bin, checkpoints, scores, logs).
_UPLOADED = (
    "config.json *.safetensors *.safetensors.index.json *.py README.md "
    "tokenizer_config.json tokenizer.json vocab.txt added_tokens.json special_tokens_map.json".split()
)

# Base error of the HTTP client that huggingface_hub uses. The client has changed over versions (requests, httpx), so
# its error has no other lasting name.
_HTTP_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]


def push(
    model: str, name: str, revision: str | None = None, private: bool = False, dry_run: bool = False
) -> dict[str, Any]:
    """Upload a model folder to the Hub: weights, configuration, tokenizer, their code and the model card, nothing else.

    Other files in the folder of a run (training_args.bin, checkpoints, scores) are not uploaded. Log in first
    with ``hf auth login``. The card, README.md, is checked first: no section may be empty, and its scores must be those
    of metrics.json.

    Args:
        model: folder with a saved model and tokenizer.
        name: name of the repository, ``user/model``; it is created if it does not exist.
        revision: branch to which the files are pushed; null means main.
        private: whether a new repository is private.
        dry_run: upload nothing, but return the files and their sizes.

    Returns:
        The size in bytes of each of the ``files`` and, after an upload, the address of the ``commit``.

    Raises:
        InputError: if the folder holds no complete model, or an adapter, a weight is NaN or infinite, the card is
            missing or wrong, or the Hub rejects the upload.
    """
    folder = Path(model)
    _check_name(name)
    check_whole(folder, "push")
    for needed in ("config.json", "tokenizer_config.json"):
        if not (folder / needed).is_file():
            raise InputError(f"{folder}: no {needed} there; name a folder with a saved model and tokenizer")
    # Exact names, because the pattern "*.py" would reach into the folders of checkpoints when files are uploaded.
    files = sorted({path.name for pattern in _UPLOADED for path in folder.glob(pattern)})
    if not any(file.endswith(".safetensors") for file in files):
        raise InputError(f"{folder}: no weights (*.safetensors) there; name a folder with a saved model")
    check_model_folder(folder)
    for file in files:
        if file.endswith(".safetensors"):
            _check_weights(folder / file)
    check_card(folder)
    sizes = {file: (folder / file).stat().st_size for file in files}
    if dry_run:
        return {"files": sizes}
    return {"commit": _upload(folder, files, name, revision, private=private), "files": sizes}


def _upload(folder: Path, files: list[str], name: str, revision: str | None, *, private: bool) -> str:
    """Create the repository and its branch if they do not exist, upload files and return the address of the commit."""
    api = HfApi()
    try:
        name = api.create_repo(name, private=private, exist_ok=True).repo_id
        if revision not in (None, "main"):
            api.create_branch(name, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name,
            folder_path=folder,
            allow_patterns=files,
            ignore_patterns=["*/*"],  # files of subfolders; a name with * or [ in it is a pattern, too
            revision=revision,
            commit_message="Upload model",
        )
    except (OSError, _HTTP_ERROR, HFValidationError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)  # a timeout may have no message
        raise InputError(f"{name}: cannot be pushed to ({reason})") from error
    return commit.commit_url


def _check_name(name: str) -> None:
    """Raise InputError if no repository of the Hub can have this name, before anything is read or sent."""
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"name: {shorten(name)} is not the name of a repository; write it as user/model") from error


def _check_weights(path: Path) -> None:
    """Raise InputError if a file of weights is damaged, or holds NaN or infinity."""
    try:
        with safe_open(path, "pt") as weights:
            check_finite(((name, weights.get_tensor(name)) for name in weights.keys()), path)
    except SafetensorError as error:
        raise InputError(f"{path}: the weights are damaged ({error}); copy or save them again") from error
