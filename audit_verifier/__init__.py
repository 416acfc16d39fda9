"""
Verifies the event log of Routines, and receipts of its runs, for those who need not believe the service.

It shares no code with the service: only the standard library, `cryptography` for signatures and `psycopg` for a database.
What it relies on is written in docs/audit-proof.md: the hash of a row, the leaf of an event, RFC 6962, and C2SP's
signed notes, checkpoints, tiles and proofs.
"""
