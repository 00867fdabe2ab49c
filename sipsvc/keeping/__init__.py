"""Keeping a server's state: backup and restore, and the schema of the database up and back."""
