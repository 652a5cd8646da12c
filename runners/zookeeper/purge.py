"""`zookeeper_task:purge`: removes a server's old snapshots, and the logs that none of those that stay needs.

Nothing goes before as many snapshots as shall stay were read and found whole, and the logs after the oldest of them
have no gap. Only files of ZooKeeper's own names are ever removed, and none at all from a folder that has others.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from runners.zookeeper import rules
from runners.zookeeper.files import (
    BrokenFile,
    Data,
    LogReader,
    Numbered,
    UnknownLayout,
    logs_from,
    read_data,
    whole,
)
from runners.zookeeper.node import Ensemble, ZookeeperConfig
from runners.zookeeper.view import Layout
from runners.zookeeper.wire import NotServing, Unlisted
from taskerman import Check, Go, Recovered, Refuse, Skip, TaskRunner, Wait, steadily

__all__ = ["Purge", "superfluous"]

FEWEST = 3


def superfluous(data: Data, keep: int) -> tuple[Numbered, ...]:
    """What may go so that the newest `keep` whole snapshots stay, with every log that the oldest of them needs.

    A snapshot that is not whole does not count, and goes when it is older than those that stay. Reads all that stays.
    Raises `BrokenFile` when the logs that would stay have a gap or a damaged record, `OSError`.
    """
    kept: list[Numbered] = []
    for snapshot in reversed(data.snapshots):
        if len(kept) == keep:
            break
        try:
            for _ in whole(snapshot.path):
                pass
        except BrokenFile:
            continue
        kept.append(snapshot)
    if len(kept) < keep:
        return ()
    oldest = kept[-1].zxid
    needed = logs_from(data.logs, oldest)
    reader = LogReader(oldest, 2**64)
    for log in needed:
        with log.path.open("rb") as file:
            for _ in reader.read(log.path, file):
                pass
    snapshots = [each for each in data.snapshots if each.zxid < oldest]
    return tuple(sorted(snapshots + [each for each in data.logs if each not in needed]))


class Purge(TaskRunner):
    """Works on the node's own files, while its server serves."""

    class Args(BaseModel):
        """What a task may say."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        keep: int = Field(default=FEWEST, ge=FEWEST, le=1000, description="whole snapshots that stay")
        dry_run: bool = Field(default=False, description="only say what would go")

    Config = ZookeeperConfig
    args: Args
    config: ZookeeperConfig
    description = "removes old snapshots and transaction logs that no kept snapshot needs"
    soft = timedelta(hours=1)
    settle = timedelta(minutes=2)

    def pre_check(self) -> Check:
        """Go when there is something to remove, the server is well and its files are understood."""
        try:
            view = self._ensemble().look()
            if not isinstance(well := rules.is_well(view, self._ensemble().bounds), Go):
                return well
            going = superfluous(self._data(), self.args.keep)
        except (Unlisted, ValueError, UnknownLayout, BrokenFile, PermissionError) as error:
            return Refuse(str(error))
        except (NotServing, OSError) as error:
            return Wait(f"its files cannot be looked at: {error}")
        return Go() if going else Skip(f"there is nothing to remove beside the newest {self.args.keep} snapshots")

    def execute_action(self) -> None:
        """Remove, oldest first, so that whatever interrupts it leaves a server's newest files as they were."""
        going = superfluous(self._data(), self.args.keep)
        words = "would remove" if self.args.dry_run else "removes"
        self.ctx.log(words, files=len(going), size=sum(each.path.stat().st_size for each in going))
        for each in going:
            self.ctx.log(words, file=str(each.path))
            if not self.args.dry_run:
                each.path.unlink(missing_ok=True)
        self.ctx.save(ended=True)

    def post_check(self) -> Check:
        """Well when the server serves; a purge that ended has left nothing to remove."""
        try:
            well = rules.is_well(self._ensemble().look(), self._ensemble().bounds)
            if isinstance(well, Go) and self.ctx.saved.get("ended") and not self.args.dry_run:
                read_data(*self._folders())
        except (Unlisted, ValueError, UnknownLayout, NotServing, OSError) as error:
            return Wait(str(error))
        return steadily(self.ctx, well)

    def recover(self) -> Recovered:
        """Done when nothing is left to remove. To go on is safe, so what is left is not done."""
        if self.ctx.saved.get("ended"):
            return Recovered.DONE
        if self.args.dry_run:
            return Recovered.NOT_DONE
        return Recovered.NOT_DONE if superfluous(self._data(), self.args.keep) else Recovered.DONE

    def _data(self) -> Data:
        return read_data(*self._folders())

    def _folders(self) -> tuple[Path, Path]:
        layout: Layout = self._ensemble().layout()
        return Path(layout.data), Path(layout.log)

    def _ensemble(self) -> Ensemble:
        return Ensemble(self.ctx, self.config)
