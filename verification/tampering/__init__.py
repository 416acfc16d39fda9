"""What somebody with all rights to the database may do to a log; the verifier has to find each of it, at its position."""
