"""A master's slots go to a replica, and nobody else who asks takes down a server of the same shard meanwhile.

What the restart and the failover have in common. Nothing is judged here; rules.py says whether a shard is ready.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from runners.redis import rules
from runners.redis.config import RedisConfig
from runners.redis.view import Address, Server, View, claim_name, look
from taskerman import Context, Go, Refuse

__all__ = ["LOOK_EVERY_S", "Handover", "NotReady", "follows", "shown"]

LOOK_EVERY_S = 0.05
ASK_AGAIN_S = 6.0
"""Redis gives a manual failover five seconds, and then forgets it."""


class NotReady(Exception):
    """The action found, before it did any harm, that it may not go on."""


class Handover:
    """Of the node's own server. `timeout_s`: how long taking over may take, and the wait for another of the shard."""

    def __init__(self, ctx: Context, config: RedisConfig, *, max_lag_bytes: int, timeout_s: float) -> None:
        self._ctx, self._config = ctx, config
        self._max_lag_bytes, self._timeout_s = max_lag_bytes, timeout_s

    def look(self) -> View:
        """Ask everybody. Raises `ErrorReply` when the own server refuses to be asked."""
        return look(
            self._config.own_address,
            self._config.access,
            peers=self._config.peer_addresses,
            announced=self._config.known_as,
        )

    @contextmanager
    def only_one_of_its_shard(self, *, failover: bool) -> Iterator[View]:
        """Within: nobody else who asks takes down a server of this shard, and the shard can do without this one.

        Two nodes of a shard may pass their checks in the same moment. So each then opens a connection to every server
        of the shard whose *name* says what it is about to do, and looks whether somebody else's is there: of two at
        least one sees the other, and steps back. A connection dies with its process, and leaves nothing in the data.
        Raises `NotReady` when it does not become so in time.
        """
        give_up_at = time.monotonic() + self._timeout_s
        while True:
            with ExitStack() as claims:
                view = self._claim(claims, self.look())
                answer = rules.shard_is_ready(view, failover=failover, max_lag_bytes=self._max_lag_bytes)
                if isinstance(answer, Go):
                    yield view
                    return
            if isinstance(answer, Refuse) or time.monotonic() >= give_up_at:
                raise NotReady(f"the shard cannot do without this server: {getattr(answer, 'reason', answer)}")
            self._ctx.log("waits for its shard", why=getattr(answer, "reason", ""))
            time.sleep(random.uniform(4, 12) * LOOK_EVERY_S)

    def hand_over(self, view: View) -> None:
        """A master with slots becomes a replica of one that has them all; of another server nothing is asked.

        Who is to take over is saved as `heir` before it is asked. Raises `NotReady` when that fails.
        """
        own = view.own
        if own is None or own.replica or not own.lines[view.me].slots:
            return
        heir = rules.heir(view, self._max_lag_bytes)
        if heir is None:
            raise NotReady("no replica is in step to take over")
        self._ctx.save(heir=heir)
        self._ctx.log("hands over", to="{}:{}".format(*view.answers[heir].address))
        give_up_at = time.monotonic() + self._timeout_s
        ask_at = 0.0
        while True:
            view = self.look()
            if follows(view, heir):
                return
            if time.monotonic() >= give_up_at:
                raise NotReady(f"the replica did not take over within {self._timeout_s:g} s")
            if time.monotonic() >= ask_at and heir in view.answers and view.answers[heir].replica:
                ask_at = time.monotonic() + ASK_AGAIN_S
                with self._config.access.open(view.answers[heir].address) as connection:
                    connection.call("CLUSTER", "FAILOVER")
            time.sleep(LOOK_EVERY_S)

    def _claim(self, claims: ExitStack, view: View) -> View:
        """Say at every server of the shard what is about to happen; then look again."""
        places: list[Address] = [self._config.own_address]
        places += [view.answers[name].address for name in rules.shard(view) if name in view.answers]
        for place in places:
            try:
                connection = claims.enter_context(self._config.access.open(place))
                connection.call("CLIENT", "SETNAME", claim_name(view.me))
            except OSError as error:
                self._ctx.log("could not claim", server=f"{place[0]}:{place[1]}", why=str(error))
        return self.look()


def follows(view: View, heir: str) -> bool:
    """Whether the own server follows `heir`, in its own eyes, in the heir's, and in those of whoever answers."""
    if view.own is None or not view.own.replica or heir not in view.answers or view.answers[heir].replica:
        return False
    seen = [line for line in view.of_me().values() if line is not None]
    return all(line.master == heir for line in seen)


def shown(view: View) -> dict[str, object]:
    """Of a view, for the log."""
    own: Server | None = view.own
    return {
        "own": None if own is None else {"replica": own.replica, "state": own.state, "uptime_s": own.uptime_s},
        "answering": len(view.answers),
        "silent": dict(view.silent),
    }
