"""`python -m taskerman.child SPEC.json --report-fd N`: commands on standard input, reports on descriptor N.

Started by the agent. By hand, `--report-fd 1` shows the reports on the terminal.
"""

from __future__ import annotations

import os
import sys

from taskerman.child.keeper import main

code = main(sys.argv[1:])
sys.stderr.flush()
# Everything is on disk and nobody is left: taking the interpreter apart would only keep the slot waiting.
os._exit(code)
