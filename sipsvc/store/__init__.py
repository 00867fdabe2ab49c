"""What is kept: the catalogue that calls are decided on, CDRs, tokens. SQL lives only here."""
