"""New rows for a price list or a gateway's coverage: read, compared, put into force, taken back (TG-7, TP-7)."""
