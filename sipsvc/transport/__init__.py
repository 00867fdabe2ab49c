"""Sockets: datagrams and streams in and out, nothing awaited on a message's way."""

from sipsvc.transport.connection import Limits, StreamUser
from sipsvc.transport.resolver import Resolver
from sipsvc.transport.stream import Streams
from sipsvc.transport.tls import Tls
from sipsvc.transport.udp import UdpListener

__all__ = ["Limits", "Resolver", "StreamUser", "Streams", "Tls", "UdpListener"]
