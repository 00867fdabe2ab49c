"""Calls handed on: files a day, signed webhooks, a Redis Stream; and the removal of old ones."""
