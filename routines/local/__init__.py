"""The whole system on one machine: parts as children, accounts, files that are ours alone."""
