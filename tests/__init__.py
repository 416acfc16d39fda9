"""The tests go by the pinned zone data, whatever the system has: what they expect is the same on every machine."""

import os
import zoneinfo

os.environ["PYTHONTZPATH"] = ""
zoneinfo.reset_tzpath()
