"""From the database to the running SIP worker: the process that watches the catalogue, and the worker's end of it."""
