"""How a call would be decided now, and why."""
