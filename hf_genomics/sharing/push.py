"""Upload a model to the Hub: the verb `push`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from ..errors import InputError

# What a model folder shares; a run leaves more there (training_args.bin, checkpoints, scores, logs).
_SHARED = (
    "config.json *.safetensors *.safetensors.index.json *.py README.md "
    "tokenizer_config.json tokenizer.json vocab.txt added_tokens.json special_tokens_map.json".split()
)


# That of the HTTP client which the installed huggingface_hub is built on.
_HTTP_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]


def push(model: str, name: str, revision: str | None = None, private: bool = False) -> dict[str, Any]:
    """Upload a model folder to the Hub: weights, configuration, tokenizer, their code and README.md, nothing else.

    What else a run leaves in its folder (training_args.bin, checkpoints, scores) stays here. Log in first, by
    ``hf auth login``.

    Args:
        model: folder with a saved model and tokenizer.
        name: of the repository, ``user/model``; created if it is not there.
        revision: branch to push to; null means main.
        private: whether a new repository is private.

    Returns:
        address of the commit and number of files.

    Raises:
        InputError: if the folder holds no complete model, or the Hub refuses.
    """
    folder = Path(model)
    for needed in ("config.json", "tokenizer_config.json"):
        if not (folder / needed).is_file():
            raise InputError(f"{folder}: no {needed} there; name a folder with a saved model and tokenizer")
    files = sorted({path.name for pattern in _SHARED for path in folder.glob(pattern)})
    if not any(file.endswith(".safetensors") for file in files):
        raise InputError(f"{folder}: no weights (*.safetensors) there; name a folder with a saved model")
    api = HfApi()
    try:
        name = api.create_repo(name, private=private, exist_ok=True).repo_id
        if revision not in (None, "main"):
            api.create_branch(name, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name,
            folder_path=folder,
            allow_patterns=files,
            ignore_patterns=["*/*"],
            revision=revision,
            commit_message="Upload model",
        )
    except (OSError, _HTTP_ERROR, HFValidationError) as error:
        raise InputError(f"{name}: cannot be pushed to ({str(error).strip().splitlines()[0]})") from error
    return {"commit": commit.commit_url, "files": len(files)}
