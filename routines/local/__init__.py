"""The whole system on one machine: its processes, their accounts, and private files."""
