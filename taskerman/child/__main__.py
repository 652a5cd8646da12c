"""`python -m taskerman.child SPEC.json --report-fd N`: commands on standard input, reports on descriptor N.

Started by the agent. By hand, `--report-fd 1` shows the reports on the terminal.
"""

from __future__ import annotations

import sys

from taskerman.child.keeper import main

sys.exit(main(sys.argv[1:]))
