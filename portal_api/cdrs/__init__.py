"""The calls: one record each, up while it is answered and when it has ended."""
