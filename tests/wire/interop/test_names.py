"""A gateway by name, looked up at a real name server, dnsmasq."""

from __future__ import annotations

import pytest

from tests.wire.interop.conftest import Play
from tests.wire.interop.script import Callee, Caller
from tests.wire.interop.town import BY_NAME, OFFICE


@pytest.mark.rule("SIP-8", "SIP-13")
def test_the_next_address_takes_the_call_where_the_first_is_silent(play: Play) -> None:
    """SRV records of two priorities; where the first leads nobody listens. It is one gateway all the same."""
    callee = Callee().invited().reply(180).reply(200, offer=True).hear("ACK")
    callee.say("INVITE", offer=True).expect(200).ack().hear("BYE").answer(200)
    far = play.gateway(callee, "name")
    caller = Caller().invite().answered().hear("INVITE").answer(200, offer=True).hear("ACK").say("BYE").expect(200)
    near = play.caller(caller, BY_NAME)
    play.finish(near, far)
    assert "@gw.test" in far.received("INVITE")[0].uri
    cdr = play.town.stage.cdr(near.call_ids()[0])
    assert (cdr["gateway"], cdr["code"]) == ("name", "answered")
    assert OFFICE in str(cdr["attempts"][-1])
