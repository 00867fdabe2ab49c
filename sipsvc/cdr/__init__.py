"""Call detail records: what one is, the local log they are written to, and their way to the database (law 8)."""
