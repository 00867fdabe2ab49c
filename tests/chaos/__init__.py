"""`make chaos`: SIPp calls while the server is killed, its database stopped and its log's disk full (law 8).

Everything is on loopback and ends with the run: a PostgreSQL of its own, and a disk of its own in memory for the log.
"""
