"""What can be read: read models, each a fold of the log into tables, with its queries."""
