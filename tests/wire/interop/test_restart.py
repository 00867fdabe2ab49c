"""A server killed while a call is up on streams: it comes back, and so do the connections."""

from __future__ import annotations

import pytest

from tests.wire.interop.conftest import Play
from tests.wire.interop.town import TO_SOFT


@pytest.mark.rule("SIP-6", "SIP-7", "SIP-16", "law 8")
def test_a_call_over_tls_goes_on_after_a_kill(play: Play) -> None:
    """Both softphones have lost their connection to us, and we ours; whoever speaks first makes them anew."""
    soft, phone = play.soft_gateway(TO_SOFT["tls"], by="tls", more=";answermode=auto"), play.phone("tls")
    phone.do("dial", f"sip:{TO_SOFT['tls']}@{play.town.targets['udp']}")
    phone.until("CALL_ESTABLISHED")
    soft.until("CALL_ESTABLISHED")
    soft.saw("ACK sip:")
    play.town.stage.server.kill()
    play.town.stage.server.start()
    soft.do("hold")
    phone.saw("a=sendonly")
    soft.saw("a=recvonly")
    phone.do("hangup")
    soft.until("CALL_CLOSED")
    call_id = phone.log.read_text(errors="replace").partition("Call-ID: ")[2].split()[0]
    cdr = play.town.stage.cdr(call_id)
    assert (cdr["code"], cdr["hangup_by"]) == ("answered", "caller")
