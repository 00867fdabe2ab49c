"""SIP messages: a lossless, lazy parser over raw lines, typed views of the headers we read, and builders."""

from sipsvc.message.fields import NameAddr, Via, params_get, parse_name_addr, parse_via, split_values
from sipsvc.message.model import Message
from sipsvc.message.parser import parse
from sipsvc.message.uri import Uri, escape_user, parse_uri, unescape

__all__ = [
    "Message",
    "NameAddr",
    "Uri",
    "Via",
    "escape_user",
    "params_get",
    "parse",
    "parse_name_addr",
    "parse_uri",
    "parse_via",
    "split_values",
    "unescape",
]
