"""What the command line says in one line: an error that means "your input, not our code" (exit code 2), and a stop."""

import contextlib
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path

# All that a file which is no checkpoint, or one cut short, makes torch.load raise; the first is a refused pickle too.
_DAMAGED = (pickle.UnpicklingError, EOFError, struct.error, LookupError)


class InputError(ValueError):
    """The user's mistake: names file, record or row, value and rule, and says what to do about it."""


class StoppedError(Exception):
    """The run has stopped: it was told to and saved a checkpoint, or another of its processes has ended.

    Attributes:
        code: exit code; 128 + the number of the signal where there was one.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@contextlib.contextmanager
def readable(source: str) -> Iterator[None]:
    """Turn what goes wrong while a model is loaded, from a damaged or foreign folder, into one line.

    Raises:
        InputError: naming the source and, as far as the libraries tell, what is wrong with it.
    """
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    path = Path(source)
    if path.exists() and not path.is_dir():
        raise InputError(f"{source} is a file; name the model's folder")
    if path.is_dir() and not (path / "config.json").is_file():
        raise InputError(f"{source}: no config.json in this folder; name a model folder")
    try:
        yield
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(
            f"{source}: its weights are a damaged file or a pickle with more than plain weights, which could run code; "
            "save the weights alone, as model.safetensors or by torch.save(model.state_dict())"
        ) from error
    except SafetensorError as error:
        raise InputError(f"{source}: the weights are damaged ({error}); copy or save them again") from error
    except (AttributeError, TypeError, AssertionError) as error:  # what libraries meet when they do not check
        raise InputError(f"{source}: a file there is not what a saved model has in its place ({error})") from error
    except (OSError, ValueError, RuntimeError, StrictDataclassError) as error:
        if isinstance(error, OSError) and not path.exists():
            raise InputError(f"{source}: no such folder, and no such model on the Hub or in its cache") from error
        if "ignore_mismatched_sizes" in str(error):
            raise InputError(
                f"{source}: the weights have other sizes than config.json says; mend config.json"
            ) from error
        raise InputError(f"{source}: {' '.join(str(error).split()).removeprefix(f'{source}: ')}") from error


@contextlib.contextmanager
def no_load_report() -> Iterator[None]:
    """Keep transformers' table of all weights that are new or left over back: who loads says in a line what matters."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
