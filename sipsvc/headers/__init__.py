"""What each gateway wants to see (TG-3..6), and how a request is forwarded (RFC 3261 §16.6)."""

from sipsvc.headers.dress import Caller, Dress, dress
from sipsvc.headers.forward import Pristine, max_forwards, without_identity

__all__ = ["Caller", "Dress", "Pristine", "dress", "max_forwards", "without_identity"]
