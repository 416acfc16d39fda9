"""
The facts and rules of the service: events, the values that they carry, and one pure module for each rule.

It imports nothing else of the project.
"""
