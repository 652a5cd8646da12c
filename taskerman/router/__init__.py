"""The router: resolves the cluster, fixes the plan, rings the nodes. It keeps no state and any number may run."""

from __future__ import annotations

from taskerman.router.daemon import Router, RouterLimits

__all__ = ["Router", "RouterLimits"]
