"""A gateway by name, looked up at a real name server, dnsmasq."""

from __future__ import annotations

import pytest

from tests.wire.interop.conftest import Play
from tests.wire.interop.script import Callee, Caller
from tests.wire.interop.town import BY_NAME, BY_NAME_TLS, OFFICE


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


@pytest.mark.rule("SIP-6", "SIP-8")
def test_a_carrier_by_tls_shows_a_certificate_for_the_name_it_was_looked_up_by(play: Play) -> None:
    callee = Callee(hops=3, routes=4).invited().reply(180).reply(200, offer=True).hear("ACK")
    callee.say("INVITE", offer=True).expect(200).ack().hear("BYE").answer(200)
    far = play.gateway(callee, "far")
    caller = Caller().invite().answered().hear("INVITE").answer(200, offer=True).hear("ACK").say("BYE").expect(200)
    near = play.caller(caller, BY_NAME_TLS)
    play.finish(near, far)
    assert far.received("INVITE")[0].all("via")[1].startswith("SIP/2.0/TLS ")
    assert play.town.stage.cdr(near.call_ids()[0])["gateway"] == "name-tls"
