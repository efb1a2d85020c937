"""Serve a page on which a model can be tried in a browser: `hf-genomics demo`."""

from __future__ import annotations

import importlib.util
import logging
import socket
import threading

from ..errors import InputError
from ..io.progress import command_log
from .answer import DemoModel

logger = logging.getLogger(__name__)


def demo(model: str, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serve a page for a browser: paste DNA or choose a FASTA file, and see its class and the nucleotides that matter.

    The page shows the class of every sequence, the score along the first sequence, and how much each nucleotide of one
    of its windows contributes. Only this machine can open the page, unless ``host`` says otherwise. The page sends
    nothing elsewhere, and keeps no sequence. Ctrl-C ends it.

    Args:
        model: folder or Hub name of a fine-tuned model.
        host: address to listen at; 0.0.0.0 lets everybody who reaches this machine use the page (Spaces of the Hugging
            Face Hub need this).
        port: port to listen at; 0 for any free one.

    Raises:
        InputError: if the model cannot be loaded or reads pairs or tracks, a package is missing, or the port is taken.

    >>> import hf_genomics as hg
    >>> hg.demo("runs/model")  # doctest: +SKIP
    """
    missing = [name for name in ("aiohttp", "logomaker") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"demo needs {' and '.join(missing)} for its page; run: pip install 'hf_genomics[demo]'")
    from aiohttp import web

    from .server import LOCAL, build_app

    with _listening(host, port) as listener:  # first, so that a taken port is reported before the model is loaded
        app = build_app(DemoModel.load(model), is_local=host in LOCAL)
        address = f"[{host}]" if ":" in host else host
        logger.info("open http://%s:%d in a browser; Ctrl-C ends the page", address, listener.getsockname()[1])
        if host not in LOCAL:
            logger.warning("everybody who reaches this machine can use the page, and what they send is not encrypted")
        if log := command_log():
            log.show_held()  # the lines of the first seconds, with the address; often no other line follows
        is_main = threading.current_thread() is threading.main_thread()  # no other thread can handle signals
        web.run_app(app, sock=listener, print=None, access_log=None, handle_signals=is_main)
    logger.info("the page has ended")


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address; raise InputError if it cannot."""
    if not 0 <= port <= 65535:
        raise InputError(f"port must lie in 0..65535, not {port}")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(
            f"{host}:{port}: cannot listen there: {error.strerror or error}; choose another --port or --host"
        ) from error
