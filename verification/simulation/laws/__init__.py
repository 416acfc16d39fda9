"""What must be true of the log, by subject: each module reads the events that concern it and reports what is broken."""
