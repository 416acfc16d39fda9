"""What an auditor reads of the log: its rows, the chain of their hashes, and every grant of a right."""
