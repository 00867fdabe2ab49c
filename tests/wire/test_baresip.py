"""A softphone somebody else wrote, baresip: one real call with digest through the server."""

from __future__ import annotations

import shutil
import subprocess
import wave
from pathlib import Path

from sipsvc.demo.server import free_port
from tests.wire.conftest import BY_DIGEST, CALLER, NUMBER, PASSWORD, Stage

MODULES = ("/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules")
CONFIG = """\
module_path {modules}
module g711.so
module aufile.so
module_tmp account.so
module_app menu.so
audio_source aufile,{folder}/silence.wav
audio_player aufile,{folder}/heard.wav
audio_alert aufile,{folder}/alert.wav
sip_listen {host}:{port}
"""


def configure(folder: Path, stage: Stage) -> None:
    modules = next((one for one in MODULES if Path(one).is_dir()), None)
    assert modules is not None, "baresip's modules are missing: run `make deps` (Debian package baresip-core)"
    with wave.open(str(folder / "silence.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(2 * 8000 * 20))
    (folder / "config").write_text(CONFIG.format(modules=modules, folder=folder, host=BY_DIGEST, port=free_port()))
    (folder / "accounts").write_text(
        f'<sip:{CALLER}@{stage.server.target}>;regint=0;outbound="sip:{stage.server.target}";'
        f"auth_user=phone;auth_pass={PASSWORD}\n"
    )
    (folder / "contacts").write_text("")


def test_a_softphone_calls_with_digest(stage: Stage, tmp_path: Path) -> None:
    assert shutil.which("baresip"), "baresip is missing: run `make deps` (Debian package baresip-core)"
    configure(tmp_path, stage)
    alpha, beta = stage.gateways(tmp_path)
    try:
        # It dials, and hangs up when its five seconds are over.
        phone = subprocess.run(
            ["baresip", "-f", str(tmp_path), "-4", "-e", f"/dial sip:{NUMBER}@{stage.server.target}", "-t", "5"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
    finally:
        alpha.stop()
        beta.stop()
    invites = alpha.received("INVITE")
    assert len(invites) == 1, phone.stdout
    assert invites[0].get("user-agent").startswith("baresip")
    assert invites[0].get("proxy-authorization") == ""
    assert len(alpha.received("ACK")) == len(alpha.received("BYE")) == 1, phone.stdout
    cdr = stage.cdr(invites[0].get("call-id"))
    assert (cdr["customer"], cdr["auth"], cdr["code"], cdr["hangup_by"]) == ("phone", "digest", "answered", "caller")
    assert 3000 <= cdr["duration_ms"] <= 6000
