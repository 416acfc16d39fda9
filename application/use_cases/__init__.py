"""
The use cases: a module for each resource, a function for each thing that a caller can ask of the system.

A use case may be run several times before its events are recorded, so it has no effects but those on its unit of work.
"""
