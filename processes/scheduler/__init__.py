"""The scheduler: finds what is due, settles it in batches, leaves alone what fails, prefetches what comes next."""
