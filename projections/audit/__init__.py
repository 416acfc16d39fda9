"""What auditors read: an index of the log by company, kind, stream, actor and thing, and refused requests."""
