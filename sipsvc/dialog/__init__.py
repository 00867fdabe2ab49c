"""Two half-dialogs make a call (law 7); a token in Record-Route finds it again (SIP-16)."""

from sipsvc.dialog.half import Half, Reach, route_set
from sipsvc.dialog.numbering import Numbering
from sipsvc.dialog.token import Tokens

__all__ = ["Half", "Numbering", "Reach", "Tokens", "route_set"]
