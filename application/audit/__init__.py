"""What an auditor reads of the log, and what in it deserves a second look."""
