"""Public in-memory fakes with fault injection, held to the same contract suites as the adapters; and what an author of
a runner tests with: `from taskerman.testing import RunnerHarness, deaths, failures`.

The names are looked up when they are first used: who wants one fake does not import the others.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from taskerman.testing.faults import Death, Failure, deaths, failures
    from taskerman.testing.harness import Logged, RunnerHarness
    from taskerman.testing.playing import Played

_WHERE = {
    "Death": "faults",
    "Failure": "faults",
    "Logged": "harness",
    "Played": "playing",
    "RunnerHarness": "harness",
    "deaths": "faults",
    "failures": "faults",
}

__all__ = ["Death", "Failure", "Logged", "Played", "RunnerHarness", "deaths", "failures"]

if not TYPE_CHECKING:  # a type checker knows the names from above, and would take any other one from here

    def __getattr__(name: str) -> object:
        if name in _WHERE:
            from importlib import import_module  # noqa: PLC0415  (not before somebody asks)

            return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
