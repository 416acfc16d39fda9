"""Quotas: how much of the log one company and one holder of keys may fill, and how many of each thing there may be."""
