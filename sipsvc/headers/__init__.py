"""What each gateway wants to see (TG-3..6), what is kept private, and how a request is forwarded (RFC 3261 §16.6)."""

from sipsvc.headers.dress import Caller, Diverted, Dress, dress, place_of
from sipsvc.headers.forward import Pristine, max_forwards, without_identity
from sipsvc.headers.privacy import privacy_asked

__all__ = [
    "Caller",
    "Diverted",
    "Dress",
    "Pristine",
    "dress",
    "max_forwards",
    "place_of",
    "privacy_asked",
    "without_identity",
]
