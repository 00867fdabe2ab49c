"""The house's own rules, held by tests: imports, files, and the table of rules."""
