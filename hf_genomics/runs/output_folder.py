"""Check, lock and clear the output folder of a run."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from itertools import takewhile
from pathlib import Path
from typing import Literal

from transformers import PreTrainedModel, TrainingArguments

from ..errors import InputError
from ..io.streams import destination
from ..io.writing import check_output
from .checkpoints import SETTINGS, check_space, checkpoint_bytes, checkpoints_in

#: Whether to continue a run: no, yes (there must be a checkpoint), or "auto" (begin, continue, or do nothing if the run
#: is finished).
Resume = bool | Literal["auto"]

LOCK = ".lock"
#: Errors of file systems that have no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


def claim_output_dir(path: str | None, done: str, *, overwrite: bool, resume: Resume) -> Path:
    """Check that a run may write to its output folder, without creating it.

    Args:
        path: path of the output folder.
        done: name of the file that only a finished run leaves in the folder.
        overwrite: whether to start from scratch and delete what an earlier run left.
        resume: whether to continue from a checkpoint; with "auto", `starting` decides when the run begins.

    Returns:
        the output folder.

    Raises:
        InputError: if no folder is given; the folder is a file, is not writable, or holds another run; or there is no
            checkpoint to resume from.
    """
    if not path:
        raise InputError(
            "trainer.output_dir is not set: name the folder for the model, such as --trainer.output_dir runs/x"
        )
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; trainer.output_dir must be a folder")
    check_output(folder, folder=True, key="trainer.output_dir")
    if resume == "auto":
        return folder
    if resume and overwrite:
        raise InputError("--resume continues the run that --overwrite would delete; pass only one of them")
    if (folder / done).exists() and not (overwrite or resume):
        raise InputError(f"{folder} holds a finished run; choose another trainer.output_dir, or pass --overwrite true")
    if not (overwrite or resume) and any(folder.glob("checkpoint-*")):
        raise InputError(
            f"{folder} holds checkpoints of an unfinished run; pass --resume auto to continue it, or --overwrite true"
        )
    if resume and (folder / done).exists() and not checkpoints_in(folder):
        raise InputError(f"{folder} holds a finished run, and no checkpoint; pass --resume auto, which accepts it")
    if resume and not checkpoints_in(folder):
        raise InputError(f"{folder}: no checkpoint to resume from; pass --resume auto, which begins the run")
    return folder


def check_no_other_model(folder: Path, done: str, *, overwrite: bool, resume: Resume) -> None:
    """Check that a run does not replace a model that no run of `pretrain` or `finetune` wrote.

    Args:
        folder: output folder of the run.
        done: name of the file that only a finished run leaves in the folder.
        overwrite: whether what is there may be replaced.
        resume: as in `claim_output_dir`.

    Raises:
        InputError: naming the folder, and the file of the model.
    """
    # A run writes checkpoints, then its settings, then its model, and at its end the file `done`.
    own = (done, "checkpoint-*", *([SETTINGS] if resume == "auto" else []))
    if overwrite or any(any(folder.glob(pattern)) for pattern in own):
        return
    if model := next((path for pattern in _OF_A_MODEL for path in folder.glob(pattern)), None):
        if (folder / SETTINGS).is_file():
            raise InputError(
                f"{folder} holds a model ({model.name}) of a run that was stopped before it had scored it; pass "
                "--resume auto to run it again, or --overwrite true"
            )
        raise InputError(
            f"{folder} holds a model ({model.name}) that would be replaced; choose another trainer.output_dir, or pass "
            "--overwrite true"
        )


def check_room(args: TrainingArguments, network: PreTrainedModel) -> None:
    """Check that the disk has room for what the run will write; nothing is created.

    Args:
        args: arguments of the Trainer.
        network: the model.

    Raises:
        InputError: if the disk has less room; the message names the folder, and the bytes needed and free.
    """
    if args.process_index == 0:
        whole = checkpoint_bytes(network)
        # A third of a checkpoint is the weights, the rest is AdamW's state.
        needed, what = (whole // 3, "the model") if args.save_strategy == "no" else (whole, "a checkpoint")
        check_space(Path(args.output_dir or "."), needed, what)


_OF_A_MODEL = ("*.safetensors", "pytorch_model*.bin")
#: Files and folders that a run writes, and `clear_outputs` deletes. The user's own files may lie beside them, so each
#: name is written out.
_OUTPUTS = tuple(
    "checkpoint-[0-9]* config.json generation_config.json adapter_config.json adapter_model.safetensors "
    "model.safetensors model-[0-9]*-of-[0-9]*.safetensors model.safetensors.index.json "
    "pytorch_model.bin pytorch_model-[0-9]*-of-[0-9]*.bin pytorch_model.bin.index.json "
    "tokenizer_config.json tokenizer.json special_tokens_map.json added_tokens.json vocab.txt "
    "trainer_state.json training_args.bin settings.json run.json metrics.json metrics.jsonl incidents.jsonl "
    "predictions.tsv sweep.tsv loss.png roc_pr.png confusion.png reliability.png scatter.png report.html".split()
)


def check_inputs_kept(folder: Path, inputs: dict[str, str]) -> None:
    """Check that a run does not replace or delete what it reads.

    Args:
        folder: output folder of the run.
        inputs: files and folders that are read, by the keys with which the user names them; names of models on the Hub
            are ignored.

    Raises:
        InputError: if one of them is the output folder, or a file or folder in it that `clear_outputs` deletes.
    """
    for key, name in inputs.items():
        path, place = destination(Path(name)), destination(folder)
        if not (path.exists() and path.is_relative_to(place)):
            continue
        first = path.relative_to(place).parts[:1]  # empty if it is the folder itself
        if not first or any(fnmatch(first[0], pattern) for pattern in _OUTPUTS):
            raise InputError(
                f"{key}: {name} lies in trainer.output_dir ({folder}), and the run would replace it; choose another "
                "trainer.output_dir"
            )


@contextmanager
def locked(folder: Path, other: str = "another trainer.output_dir") -> Iterator[None]:
    """Hold the lock of a folder within the block, so that no two processes write to it.

    The lock belongs to this process, not to its children, and the system releases it when the process ends, however it
    ends. Where the file system or the operating system has no such locks, nothing is locked.

    Args:
        folder: the folder; it exists.
        other: what the user may choose instead, for the message.

    Raises:
        InputError: if another process holds the lock; the message names it.
    """
    file = _take_lock(folder, other)
    try:
        yield
    finally:
        if file is not None:
            with contextlib.suppress(OSError):
                os.unlink(folder / LOCK)  # before the lock is released: later, the file may belong to another process
            os.close(file)


@contextmanager
def working_folder(folder: Path, other: str = "another output") -> Iterator[None]:
    """Create a folder for unfinished work if there is none, and hold its lock within the block.

    Its files remain after the block, unless `empty_folder` deletes them. If the folder is empty by then, it is deleted,
    together with the parent folders that were created for it.

    Args:
        folder: the folder.
        other: what the user may choose instead, for the message.

    Raises:
        InputError: if another process holds the lock; the message names it.
    """
    new = list(takewhile(lambda one: not one.exists(), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder, other):
            yield
    finally:
        with contextlib.suppress(OSError):  # not empty
            for one in dict.fromkeys((folder, *new)):
                one.rmdir()


def empty_folder(folder: Path) -> None:
    """Delete everything in a working folder except its lock."""
    for path in folder.glob("*"):
        if path.name != LOCK:
            _delete(path)


def _take_lock(folder: Path, other: str) -> int | None:
    """Lock the file of a folder's lock and return its handle, or None where there are no locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    while True:
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(file, 200).decode("utf-8", "replace").strip()
            os.close(file)
            if error.errno in _NO_LOCKS:
                (folder / LOCK).unlink(missing_ok=True)
                return None
            raise InputError(
                f"{folder}: another process ({holder or 'unknown'}) is writing to it; wait until it has ended, "
                f"or choose {other}"
            ) from error
        with contextlib.suppress(FileNotFoundError):
            # The process that held the lock may have deleted the file in the meantime.
            if os.stat(folder / LOCK).st_ino == os.fstat(file).st_ino:
                os.truncate(file, 0)
                os.write(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
                return file
        os.close(file)


def clear_outputs(folder: Path) -> None:
    """Delete the files of an earlier run, so that none of them is mixed up with files of the new run."""
    for pattern in _OUTPUTS:
        for path in folder.glob(pattern):
            _delete(path)


def _delete(path: Path) -> None:
    """Delete a file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
