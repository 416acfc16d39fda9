"""Signs what the log's trees say, with a key that is not in the database, and never two histories of one name."""
