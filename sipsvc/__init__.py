"""SIP routing, authorization and rating for people who resell telephony."""

__version__ = "0.1.0"
