"""Proxies that stand before customers and gateways: stateless, in the way by Record-Route, loose or strict.

A loose one is RFC 3261's (§16.6, §16.11). A strict one is of before it: it sends to the Request-URI alone, which it
takes from the first Route, so that whoever comes next finds the real target at the end of Route (§16.4, §12.2.1.1).
"""

from __future__ import annotations

from tests.sim.network import Address
from tests.sim.sipmsg import Msg, build, hexmd5, params_of, parse_name, parse_uri
from tests.sim.sipua import World


class RecordingProxy:
    """`inside` is who lives behind it: requests that name the proxy itself and no Route go to it. `alias` is a name
    of the proxy's own, in place of its address."""

    up = True

    def __init__(self, world: World, name: str, address: Address, strict: bool, inside: Address | None = None) -> None:
        self.alias = ""
        self.world, self.name, self.address, self.strict, self.inside = world, name, address, strict, inside
        # The calls that had a request inside them come this way, and those it took a Request-URI from Route for.
        self.passed: set[str] = set()
        self.rewritten: set[str] = set()
        world.net.nodes[address] = self

    @property
    def record_route(self) -> str:
        host, port = self.address
        return f"<sip:{self.name}@{host}:{port}{'' if self.strict else ';lr'}>"

    def on_datagram(self, data: bytes, msg: Msg | None, src: Address, dst: Address) -> None:
        if msg is None:
            return
        if msg.status:
            self._back(msg)
        else:
            self._on(msg, src)

    def _mine(self, uri: str) -> bool:
        parsed = parse_uri(uri)
        return parsed.host in (self.address[0], self.alias) and parsed.port == self.address[1]

    def _on(self, msg: Msg, src: Address) -> None:
        uri, routes = msg.uri, msg.all("route")
        if msg.to_tag and msg.method != "ACK":
            self.passed.add(msg.call_id)
        named = parse_uri(uri).user == self.name and self._mine(uri)
        if self.strict and named and routes:
            uri, routes = parse_name(routes[0]).uri, routes[1:]
            self.rewritten.add(msg.call_id)
        elif routes and self._mine(parse_name(routes[0]).uri):
            routes = routes[1:]
        if self._mine(uri) and not routes and self.inside is not None:
            host, port = self.inside
            user = parse_uri(uri).user
            uri = f"sip:{user}{'@' if user else ''}{host}:{port}"
        hop = parse_uri(parse_name(routes[0]).uri if routes and not self.strict else uri)
        vias = msg.all("via")
        seen = f"{vias[0]};received={src[0]}"
        if "rport" in params_of(vias[0]):
            seen = seen.replace(";rport", f";rport={src[1]}", 1)
        host, port = self.address
        branch = hexmd5(f"{self.name} {vias[0]}")
        lines = [("Via", f"SIP/2.0/UDP {host}:{port};branch=z9hG4bK{branch}"), ("Via", seen)]
        lines += [("Via", via) for via in vias[1:]]
        if msg.method == "INVITE" and not msg.to_tag:
            lines.append(("Record-Route", self.record_route))
        lines += [("Route", route) for route in routes]
        for name, value in msg.headers:
            if name == "max-forwards":
                lines.append((name, str(int(value) - 1)))
            elif name not in ("via", "route", "content-length"):
                lines.append((name, value))
        self._send(build(f"{msg.method} {uri} SIP/2.0", lines, msg.body), msg, (hop.host, hop.port))

    def _back(self, msg: Msg) -> None:
        """A response goes by the next Via (§16.7, §18.2.2)."""
        mine, *vias = msg.all("via")
        host, port = self.address
        if f" {host}:{port};" not in mine or not vias:
            return  # not by this way (§16.7 step 3)
        params = params_of(vias[0])
        sent_by = parse_uri("sip:" + vias[0].split()[1].split(";")[0])
        lines = [("Via", via) for via in vias]
        lines += [(name, value) for name, value in msg.headers if name not in ("via", "content-length")]
        to = (params.get("received", sent_by.host), int(params.get("rport") or sent_by.port))
        self._send(build(f"SIP/2.0 {msg.status} {msg.reason}", lines, msg.body), msg, to)

    def _send(self, data: bytes, msg: Msg, to: Address) -> None:
        if not self.world.net.send(data, self.address, to):
            self.world.report("reachable", msg.call_id, f"{self.name}: nobody at {to} for {msg.line}")
