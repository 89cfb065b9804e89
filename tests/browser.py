"""A headless Chromium, driven over its DevTools protocol with the standard library alone; tests skip without one.

with Browser() as browser:
    page = browser.page(width=360, height=740)
    page.open("http://127.0.0.1:8000/")
    assert page.run("document.title") == "mine"
    page.press("Tab")
    page.screenshot("page.png")
"""

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SWITCHES = (  # it asks nobody for anything by itself
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --remote-debugging-port=0"
).split()
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
CONTROL, SHIFT = 2, 8  # in DevTools' numbers
PATIENCE = 30  # seconds


class Browser:
    """A browser of its own, with an empty profile; skips the test if none is installed (apt-get install chromium)."""

    def __enter__(self) -> "Browser":
        program = next(filter(None, map(shutil.which, NAMES)), None)
        if program is None:
            pytest.skip(f"there is no browser: none of {', '.join(NAMES)} is on the PATH")
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.process = subprocess.Popen(
            [program, *SWITCHES, f"--user-data-dir={self.profile.name}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        told, deadline = Path(self.profile.name, "DevToolsActivePort"), time.monotonic() + PATIENCE
        while not (told.exists() and "\n" in told.read_text()):
            assert self.process.poll() is None and time.monotonic() < deadline, "the browser did not begin"
            time.sleep(0.05)
        port, path = told.read_text().split("\n")[:2]
        self.line = Line(f"ws://127.0.0.1:{port}{path}")
        return self

    def page(self, width: int = 1280, height: int = 800, dark: bool = False) -> "Page":
        """A new page of that size."""
        target = self.line.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.line.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self.line, session)
        for domain in ("Page", "Runtime", "Network"):
            page.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        page.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        page.call("Emulation.setEmulatedMedia", features=scheme)
        return page

    def __exit__(self, *_: Any) -> None:
        self.process.kill()
        self.process.wait()
        self.profile.cleanup()


class Page:
    """A page of the browser."""

    def __init__(self, line: "Line", session: str):
        self.line, self.session = line, session

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """A command of the DevTools protocol."""
        return self.line.call(method, self.session, **arguments)

    def open(self, address: str) -> None:
        """Go to an address, and wait until the page has loaded."""
        self.call("Page.navigate", url=address)
        self.line.until(lambda event: event["method"] == "Page.loadEventFired" and event["sessionId"] == self.session)

    def run(self, program: str) -> Any:
        """The value of a JavaScript expression; of a promise, what it resolves to."""
        found = self.call("Runtime.evaluate", expression=program, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, program: str) -> Any:
        """The value of a JavaScript expression as soon as it is true."""
        deadline = time.monotonic() + PATIENCE
        while not (value := self.run(program)):
            assert time.monotonic() < deadline, f"it never became true: {program}"
            time.sleep(0.05)
        return value

    def press(self, key: str, modifiers: int = 0) -> None:
        """Press and release a key, such as "Tab" or "a"."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        code = KEYS.get(key, ord(key.upper()) if len(key) == 1 else 0)
        named = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown", text="" if modifiers & CONTROL else text, **named)
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def type(self, text: str) -> None:
        """Insert a text where the focus is."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path: str | Path) -> None:
        """The whole page as a PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        Path(path).write_bytes(base64.b64decode(data))

    @property
    def requested(self) -> list[str]:
        """The addresses that the page has asked for."""
        sent = [event for event in self.line.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent if event["sessionId"] == self.session]


class Line:
    """A WebSocket (RFC 6455) on which commands are sent as JSON, and answers and events received."""

    def __init__(self, address: str):
        parts = urlsplit(address)
        self.socket = socket.create_connection((parts.hostname, parts.port), PATIENCE)
        self.count, self.events = 0, list[dict[str, Any]]()
        head = f"GET {parts.path} HTTP/1.1", f"Host: {parts.netloc}", "Connection: Upgrade", "Upgrade: websocket"
        more = f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}", "Sec-WebSocket-Version: 13", "", ""
        self.socket.sendall("\r\n".join([*head, *more]).encode())
        self.file = self.socket.makefile("rb")
        while self.file.readline() != b"\r\n":
            pass

    def call(self, method: str, session: str | None = None, **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its result."""
        self.count += 1
        number, command = self.count, {"id": self.count, "method": method, "params": arguments}
        self.send(json.dumps(command | ({"sessionId": session} if session else {})).encode())
        while True:
            message = self.receive()
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self.events.append(message)

    def until(self, is_it: Any) -> None:
        """Wait for an event."""
        while not any(map(is_it, self.events)):
            self.events.append(self.receive())

    def send(self, text: bytes) -> None:
        size = bytes([128 | len(text)]) if len(text) < 126 else b"\xfe" + struct.pack(">H", len(text))
        size = size if len(text) < 1 << 16 else b"\xff" + struct.pack(">Q", len(text))
        self.socket.sendall(b"\x81" + size + bytes(4) + text)  # masked with zeros, which changes nothing

    def receive(self) -> dict[str, Any]:
        """The next message, of one frame or several."""
        text, is_last = b"", False
        while not is_last:
            first, size = self.file.read(2)
            is_last = first & 128
            size = struct.unpack(">H", self.file.read(2))[0] if size == 126 else size
            size = struct.unpack(">Q", self.file.read(8))[0] if size == 127 else size
            text += self.file.read(size)
        return json.loads(text)
