"""baresip, a softphone somebody else wrote, under remote control (its module ctrl_tcp). Debian package baresip-core."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import wave
from pathlib import Path
from typing import Any

from sipsvc.demo.server import free_port
from tests.processes import end

MODULES = ("/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules")
CONFIG = """\
module_path {modules}
module g711.so
module aufile.so
module_tmp account.so
module_app ctrl_tcp.so
module_app menu.so
ctrl_tcp_listen 127.0.0.1:{control}
audio_source aufile,{folder}/silence.wav
audio_player aufile,{folder}/heard.wav
audio_alert aufile,{folder}/alert.wav
net_interface {host}
sip_listen {listen}
{more}
"""


class Softphone:
    """One baresip. `account` is a line of its accounts file; what happens to its calls is collected in `events`."""

    def __init__(self, folder: Path, listen: str, account: str, more: str = "") -> None:
        assert shutil.which("baresip"), "baresip is missing: run `make deps` (Debian package baresip-core)"
        modules = next((one for one in MODULES if Path(one).is_dir()), None)
        assert modules is not None, "baresip's modules are missing: run `make deps` (Debian package baresip-core)"
        folder.mkdir(parents=True)
        host = listen.partition(":")[0]
        control = free_port(socket.SOCK_STREAM)
        with wave.open(str(folder / "silence.wav"), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(bytes(2 * 8000 * 30))
        (folder / "config").write_text(
            CONFIG.format(modules=modules, folder=folder, control=control, listen=listen, host=host, more=more)
        )
        (folder / "accounts").write_text(f"{account}\n")
        (folder / "contacts").write_text("")
        self.events: list[dict[str, Any]] = []
        self.log = folder / "log"
        with self.log.open("wb") as log:
            # It reads commands from its standard input, too; -t ends it if nobody else does.
            self.process = subprocess.Popen(
                ["baresip", "-f", str(folder), "-s", "-v", "-t", "60"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._buffer = b""
        self._link = self._connect(control)

    def _connect(self, port: int) -> socket.socket:
        end = time.monotonic() + 10
        while True:
            try:
                link = socket.create_connection(("127.0.0.1", port), 5)
                link.settimeout(0.1)
                return link
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.stop()
                    raise AssertionError(f"baresip did not start:\n{self.tail()}") from None
                time.sleep(0.05)

    def do(self, command: str, params: str = "") -> None:
        """Give one of the commands of its menu, such as `dial` or `hangup`."""
        text = json.dumps({"command": command, "params": params, "token": command}).encode()
        self._link.sendall(b"%d:%s," % (len(text), text))

    def until(self, kind: str, seconds: float = 8.0) -> dict[str, Any]:
        """The next event of a kind, such as CALL_ESTABLISHED; it and those before it are taken off `events`."""
        end = time.monotonic() + seconds
        while True:
            self._read()
            for index, event in enumerate(self.events):
                if event.get("type") == kind:
                    del self.events[: index + 1]
                    return event
            assert time.monotonic() < end, f"no {kind}, but {self.events}\n{self.tail()}"

    def saw(self, text: str, times: int = 1, seconds: float = 5.0) -> None:
        """Wait until `text` stands so often in its log, which has every SIP message in full."""
        end = time.monotonic() + seconds
        while self.log.read_text(errors="replace").count(text) < times:
            assert time.monotonic() < end, f"no {text!r} in\n{self.tail()}"
            time.sleep(0.05)

    def _read(self) -> None:
        try:
            self._buffer += self._link.recv(65536)
        except TimeoutError:
            return
        while (colon := self._buffer.find(b":")) > 0:
            length = int(self._buffer[:colon])
            if len(self._buffer) < colon + length + 2:
                return
            found = json.loads(self._buffer[colon + 1 : colon + 1 + length])
            self._buffer = self._buffer[colon + length + 2 :]
            if found.get("event"):
                self.events.append(found)

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    def stop(self) -> None:
        link = getattr(self, "_link", None)
        if link is not None:
            link.close()
        end(self.process, 5)
