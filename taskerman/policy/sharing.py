"""Who may be in a named scope at once: its declared capacity, and what each command there, and the newcomer, promised.

Pure. A command's promise binds everybody, tasks too: whoever typed "one at a time" is alone. Where nobody declared a
capacity the promises alone bind, and tasks do not go there at all.
"""

from __future__ import annotations

from taskerman.policy.snapshot import ScopeSeen

__all__ = ["most_beside", "room_for"]


def most_beside(seen: ScopeSeen, promise: int) -> int:
    """How many may be there at once with a newcomer who promises `promise`."""
    return min([promise, *seen.promises(), *([] if seen.capacity is None else [seen.capacity])])


def room_for(seen: ScopeSeen, promise: int) -> bool:
    """Whether such a newcomer finds a place."""
    return len(seen.slots) + 1 <= most_beside(seen, promise)
