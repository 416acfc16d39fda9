"""Limits on how large and how deep things may be, and how that is measured."""
