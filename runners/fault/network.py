"""`fault_task:packet_loss` and `fault_task:add_latency`: a network with holes, and a slow one.

Loss is made of rules with a comment of ours, for named ports only, which the kernel itself stops to match at their
deadline. A delay is made of a queueing discipline with a handle of ours, on the whole interface, and knows no deadline.
Both are rehearsed in a network namespace that vanishes with the command: what a kernel cannot do is known before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import Field, JsonValue

from runners.fault import rules
from runners.fault.operation import Fault, FaultArgs
from runners.fault.switch import GRACE_S
from runners.fault.undo import NETEM_HANDLE
from taskerman import Check, CommandFailed, Go, Refuse

__all__ = ["AddLatency", "LatencyArgs", "LossArgs", "PacketLoss"]

ASK_TIMEOUT = timedelta(seconds=20)


class LossArgs(FaultArgs):
    """Which packets."""

    interface: str = Field(description="One of `network.interfaces` of the node's configuration.")
    ports: tuple[int, ...] = Field(min_length=1, description="TCP ports of this node, all of `network.ports`.")
    percent: float = Field(gt=0, le=100, description="How many of a hundred packets are lost, at random.")
    direction: Literal["in", "out", "both"] = Field(default="both", description="Which way, seen from this node.")


class LatencyArgs(FaultArgs):
    """How slow."""

    interface: str = Field(description="One of `network.interfaces` of the node's configuration.")
    latency_ms: int = Field(gt=0, le=60_000, description="How much later each packet leaves.")
    jitter_ms: int = Field(default=0, ge=0, le=60_000, description="By how much that varies.")


class _OnNetwork(Fault):
    def _within(self, *words: str) -> list[str]:
        return [*self.config.network.within, *words]

    def _rehearsed(self, commands: Iterable[Sequence[str]], what: str) -> Check:
        """Whether the kernel can do it, tried where it harms nobody; and whether the interface is there."""
        interface = self.args.interface  # type: ignore[attr-defined]
        try:
            self.ctx.command(self._within("ip", "link", "show", "dev", interface), timeout=ASK_TIMEOUT)
        except CommandFailed as failed:
            return Refuse(f"there is no interface {interface}: {failed}")
        try:
            for command in commands:
                self.ctx.command(["unshare", "--net", *command], timeout=ASK_TIMEOUT)
        except CommandFailed as failed:
            return Refuse(f"this machine cannot {what}: {failed}")
        return Go()


class PacketLoss(_OnNetwork):
    """Loses packets of named ports. What the machine's own tools use (the agent, a shell) is not touched."""

    Args = LossArgs
    args: LossArgs
    description = "loses packets of named ports for a time"
    kind = "packet_loss"
    guards_itself = True

    def fits(self) -> Check:
        """Whether ports, interface and share are allowed, and the kernel has what the rules need."""
        given = self.args
        answer = rules.loss_fits(
            self.config.network, interface=given.interface, ports=given.ports, percent=given.percent
        )
        if not isinstance(answer, Go):
            return answer
        tried = [
            [table, "-w", "5", "-A", chain, *words]
            for table in self.config.network.tables
            for chain, *words in self._rules("taskerman-fault:rehearsal")
        ]
        return self._rehearsed(tried, "lose packets at random until a time")

    def prepare(self, fault: str) -> Mapping[str, JsonValue]:
        """The rules, as they are taken out again."""
        tag = f"taskerman-fault:{fault}"
        return {
            "within": list(self.config.network.within),
            "tables": list(self.config.network.tables),
            "tag": tag,
            "rules": [list(rule) for rule in self._rules(tag)],
        }

    def inject(self, undo: Mapping[str, Any]) -> None:
        """Put each rule first."""
        for table in undo["tables"]:
            for chain, *words in undo["rules"]:
                self.ctx.command([*undo["within"], table, "-w", "5", "-I", chain, *words])

    def _rules(self, tag: str) -> list[list[str]]:
        given = self.args
        until = datetime.now(UTC) + timedelta(seconds=given.duration_s + GRACE_S)
        what = ["-m", "statistic", "--mode", "random", "--probability", f"{given.percent / 100:.6f}"]
        what += ["-m", "time", "--datestop", f"{until:%Y-%m-%dT%H:%M:%S}"]
        what += ["-m", "comment", "--comment", tag, "-j", "DROP"]
        found = []
        for port in given.ports:
            if given.direction in ("in", "both"):
                found.append(["INPUT", "-i", given.interface, "-p", "tcp", "--dport", str(port), *what])
            if given.direction in ("out", "both"):
                found.append(["OUTPUT", "-o", given.interface, "-p", "tcp", "--sport", str(port), *what])
        return found


class AddLatency(_OnNetwork):
    """Delays everything that leaves by an interface. One that has a queueing discipline of somebody's is refused."""

    Args = LatencyArgs
    args: LatencyArgs
    description = "delays what leaves by an interface, for a time"
    kind = "add_latency"

    def fits(self) -> Check:
        """Whether interface and delay are allowed, the kernel has netem, and nobody's settings would be lost."""
        given = self.args
        answer = rules.latency_fits(
            self.config.network, interface=given.interface, latency_ms=given.latency_ms, jitter_ms=given.jitter_ms
        )
        if not isinstance(answer, Go):
            return answer
        answer = self._rehearsed(
            [["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]],
            "delay packets (its kernel has no netem: modprobe sch_netem)",
        )
        if not isinstance(answer, Go):
            return answer
        shown = self.ctx.command(self._within("tc", "qdisc", "show", "dev", given.interface), timeout=ASK_TIMEOUT)
        for line in shown.output.splitlines():
            words = line.split()
            # "0:" is what the kernel chose by itself, and chooses again when ours is taken away.
            if "root" in words and len(words) > 2 and words[2] != "0:":
                return Refuse(
                    f"{given.interface} has a queueing discipline already, which would be lost: {line.strip()}"
                )
        return Go()

    def prepare(self, fault: str) -> Mapping[str, JsonValue]:
        """Where it is taken away again."""
        return {"within": list(self.config.network.within), "interface": self.args.interface}

    def inject(self, undo: Mapping[str, Any]) -> None:
        """Add it. Not replace: what somebody added meanwhile is not lost."""
        given = self.args
        delay = [f"{given.latency_ms}ms", *([f"{given.jitter_ms}ms"] if given.jitter_ms else [])]
        where = ["tc", "qdisc", "add", "dev", given.interface, "root", "handle", NETEM_HANDLE, "netem", "delay"]
        self.ctx.command([*undo["within"], *where, *delay])
