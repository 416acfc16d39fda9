"""`routines demo`: a schedule fires before your eyes, from the tick to the finished run."""
