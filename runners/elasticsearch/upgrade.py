"""`elasticsearch_task:upgrade`: one node of a rolling upgrade. A restart, with another version in its middle."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from runners.elasticsearch import rules
from runners.elasticsearch.http import NotUnderstood, Refused, Unreachable
from runners.elasticsearch.restart import Restarting
from runners.elasticsearch.view import look, peer_view
from taskerman import Check, Go, Recovered, Refuse, Wait

__all__ = ["Upgrade"]


class Upgrade(Restarting):
    """Stops the server, installs the version, starts it, and believes what a peer sees."""

    class Args(Restarting.Args):
        """Of an upgrade."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        version: str = Field(pattern=r"^\d+\.\d+\.\d+$", description="the version to go to, such as 8.15.3")

    args: Args
    description = "upgrades the node's Elasticsearch to a version"

    def pre_check(self) -> Check:
        """Go when the version is a step ahead, it is this node's turn, and the cluster can do without it."""
        if not any("{version}" in word for word in self.config.upgrade):
            return Refuse("`upgrade` in this node's configuration names no command with {version} in it")
        try:
            answer = rules.may_upgrade(look(self.config), self.args.version)
        except (Unreachable, Refused, NotUnderstood) as error:
            # One that is down is upgraded as it is started, when the cluster allows that.
            answer = Go() if isinstance(error, Unreachable) and error.refuses else Wait(str(error))
        return answer if not isinstance(answer, Go) else super().pre_check()

    def bounce(self) -> None:
        """See `Restarting.bounce`."""
        self.ctx.command(self.config.stop)
        self.ctx.command([word.replace("{version}", self.args.version) for word in self.config.upgrade])
        self.ctx.command(self.config.start)

    def post_check(self) -> Check:
        """Well, and of the version; a node that was never stopped may have its old one."""
        answer = super().post_check()
        if not isinstance(answer, Go) or not self.ctx.saved.get("asked"):
            return answer
        try:
            own = peer_view(self.config, str(self.ctx.saved.get("id") or "") or look(self.config).me).own
        except (Unreachable, Refused, NotUnderstood) as error:
            return Wait(str(error))
        if own is None or own.version != self.args.version:
            has = "is not in the cluster" if own is None else f"has version {own.version}"
            return Refuse(f"the node {has} after its upgrade to {self.args.version}: look at the log of `upgrade`")
        return Go()

    def recover(self) -> Recovered:
        """By the version as well: a new start of the old one is not done."""
        found = super().recover()
        if found is not Recovered.DONE:
            return found
        try:
            own = look(self.config).own
        except (Unreachable, Refused, NotUnderstood):
            return Recovered.UNKNOWN
        return Recovered.DONE if own is not None and own.version == self.args.version else Recovered.NOT_DONE
