"""Who pays, and how their calls are known."""
