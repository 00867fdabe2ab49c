"""What calls are sold for."""
