"""The management API: read-only views of the catalogue and the calls, and "why would this call go there?"."""
