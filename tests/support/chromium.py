"""A headless Chromium, driven over its own pipe: no driver and no library stands between."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.support.java import Unavailable

_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-quic", "--disable-extensions", "--remote-debugging-pipe"),
)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Chromium:
    """One browser with one tab.

    Attributes:
        complaints: what the browser wrote to its console about the pages: errors, and refusals by a policy.
    """

    def __init__(self, directory: Path) -> None:
        path = next(filter(None, map(shutil.which, _NAMES)), None)
        if path is None:
            raise Unavailable("there is no Chromium: apt-get install --no-install-recommends chromium")
        self.complaints: list[str] = []
        self._asked = 0
        self._heard: list[dict[str, Any]] = []
        read_here, write_there = os.pipe()
        read_there, write_here = os.pipe()
        # It reads from descriptor 3 and writes to 4. Only a shell can give it just these.
        shell = ("bash", "-c", f'exec "$@" 3<&{read_there} 4>&{write_there}', "bash")
        self._process = subprocess.Popen(
            [*shell, path, *_FLAGS, f"--user-data-dir={directory}", "about:blank"],
            pass_fds=(read_there, write_there),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_there)
        os.close(write_there)
        self._to, self._from = os.fdopen(write_here, "wb"), os.fdopen(read_here, "rb")
        self._session = ""
        self._tab()

    def _tab(self) -> None:
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Log", "Runtime", "Accessibility"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._to.close()  # a browser whose pipe ends, ends
        self._from.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """Sends one command of the DevTools protocol, and returns its result."""
        self._asked += 1
        command = {"id": self._asked, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        self._to.write(json.dumps(command).encode() + b"\0")
        self._to.flush()
        answer = self._hear(lambda message: message.get("id") == self._asked)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def show(self, url: str, *, width: int, dark: bool) -> None:
        """Loads a page in a window that is so wide, and waits until it is there."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[theme])
        self._heard.clear()
        self.ask("Page.navigate", url=url)
        self._hear(lambda message: message.get("method") == "Page.loadEventFired")

    def value(self, expression: str) -> Any:  # noqa: ANN401 - whatever the expression gives
        """The value of an expression on the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def accessible(self) -> list[tuple[str, str]]:
        """Role and name of all that a screen reader finds."""
        nodes = self.ask("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
        ]

    def screenshot(self, path: Path) -> None:
        """The whole page as a picture."""
        picture = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(picture))

    def _hear(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first message that is wanted, of those that came and those that come."""
        for message in self._heard:
            if wanted(message):
                return message
        while True:
            message = self._next()
            self._heard.append(message)
            if wanted(message):
                return message

    def _next(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self._from.read(1)) != b"\0":
            assert byte, "the browser ended"
            text += byte
        message: dict[str, Any] = json.loads(text)
        if message.get("method") in {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"}:
            self.complaints.append(json.dumps(message["params"]))
        return message
