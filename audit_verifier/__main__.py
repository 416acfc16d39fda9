"""`python -m audit_verifier`."""

import sys

from audit_verifier.cli import main

sys.exit(main())
