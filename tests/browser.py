"""A headless Chromium that tests drive as a visitor would: open a page, type, choose files, click, take a picture."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_PATIENCE = 120  # seconds


class Browser:
    """One tab of a browser, driven by the DevTools protocol."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._numbers = socket, itertools.count(1)

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            found = json.loads((await self._socket.receive(timeout=_PATIENCE)).data)
            if found.get("id") == number:
                assert "error" not in found, found
                return found["result"]

    async def run(self, script: str) -> Any:
        """Run JavaScript on the page, and return its value."""
        return (await self.call("Runtime.evaluate", expression=script))["result"].get("value")

    async def open(self, address: str) -> None:
        """Open a page."""
        await self.call("Page.navigate", url=address)
        await self.wait_for("document.readyState == 'complete' && location.href != 'about:blank'")

    async def wait_for(self, condition: str) -> None:
        """Wait until a condition in JavaScript is true."""
        end = time.monotonic() + _PATIENCE
        while not await self.run(condition):
            assert time.monotonic() < end, condition
            await asyncio.sleep(0.1)

    async def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file in a field of a form."""
        root = (await self.call("DOM.getDocument"))["root"]["nodeId"]
        node = (await self.call("DOM.querySelector", nodeId=root, selector=selector))["nodeId"]
        await self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    async def picture(self) -> bytes:
        """Return a PNG of the whole page."""
        found = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(found["data"])


@contextlib.asynccontextmanager
async def open_browser(profile: Path, width: int = 900) -> AsyncIterator[Browser]:
    """Start a browser with an empty profile, and end it.

    Args:
        profile: folder for its files.
        width: width of its window in pixels.
    """
    import aiohttp

    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--remote-debugging-port=0"]
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, *words, f"--user-data-dir={profile}", "about:blank", stderr=asyncio.subprocess.PIPE
    )
    try:
        while b"DevTools listening on " not in (line := await asyncio.wait_for(process.stderr.readline(), _PATIENCE)):
            assert process.returncode is None
        host = line.decode().split("ws://")[1].split("/")[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{host}/json/list") as response:
                page = next(target for target in await response.json() if target["type"] == "page")
            async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=1 << 26) as socket:
                yield Browser(socket)
    finally:
        process.terminate()
        await process.wait()
