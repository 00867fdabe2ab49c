"""The test messages of RFC 4475 and RFC 5118, each with what becomes of it here (SIP-2).

`table.py` is the table. The messages are the files of the archives that the RFCs carry in their appendices, byte for
byte (`SHA256SUMS`), one file a message under the RFC's own name.
"""
