"""`make demo`: a cluster of six on this machine, restarted under its limit, and then one node that does not come back.

Everything is thrown away afterwards. The demo shows what is measured, not what is meant: a prober that knows nothing
of Taskerman watches the cluster, and the exit code says whether all of it was so. It refuses to touch anything that
is not its own: no real cloud, no settings of this machine, no fixed port or path.
"""

from __future__ import annotations

from taskerman.demo.door import main

__all__ = ["main"]
