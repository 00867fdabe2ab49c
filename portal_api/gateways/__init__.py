"""The carriers' gateways and what each asks for."""
