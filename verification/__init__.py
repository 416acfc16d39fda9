"""
What proves the promises: fault campaigns against real processes, and a simulation of years.

The oracles and the processes that they judge go by the pinned zone data, whatever the system has.
"""

import os
import zoneinfo

os.environ["PYTHONTZPATH"] = ""
zoneinfo.reset_tzpath()
