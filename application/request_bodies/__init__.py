"""
The JSON bodies of requests, as the contracts have them: a module per subject. Their docstrings are part of the published descriptions.

Absent fields are UNSET, so that a patch can tell "leave it" from "clear it".
"""
