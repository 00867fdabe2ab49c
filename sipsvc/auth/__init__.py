"""Who is calling: by certificate, by source address or by digest, and nobody else (SIP-20..22)."""

from sipsvc.auth.identify import Authenticator, Challenge, Identity

__all__ = ["Authenticator", "Challenge", "Identity"]
