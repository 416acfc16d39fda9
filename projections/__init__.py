"""The read side: read models, each a fold of the log into tables, with the queries on them."""
