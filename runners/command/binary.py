"""`command_task:binary`: a program from S3, known by its hash. `taskerman upload` puts it there."""

from __future__ import annotations

from collections.abc import Iterator

from runners.command.acting import CommandRunner, Start
from runners.command.args import BinaryArgs
from runners.command.fetched import Fetched
from runners.command.permission import Denied, Surroundings, allowed_binaries
from runners.command.private import check_folder, runnable

__all__ = ["Binary"]


class Binary(CommandRunner):
    """Fetches it unless it is here, verifies it, and runs the very bytes that were verified."""

    Args = BinaryArgs
    args: BinaryArgs
    description = "fetches a program from S3, verifies its hash, and runs it"
    what = "program"

    def permit(self, at: Surroundings) -> str:
        """See `CommandRunner.permit`."""
        fetched = self._vouched_for(at)
        return check_folder(self.config.folder, needed_bytes=2 * fetched.size() + 4096, to_run=True)

    def made_ready(self, at: Surroundings) -> Iterator[Start]:
        """See `CommandRunner.made_ready`."""
        with self._vouched_for(at).copy(self.ctx.attempt_id) as descriptor:
            yield (runnable(descriptor), *self.args.args), (descriptor,)

    def _vouched_for(self, at: Surroundings) -> Fetched:
        args = self.args
        rules = allowed_binaries(self.config, args.url, args.sha256, args.args, at.who)
        fetched = Fetched(self.config, args.url, args.sha256)
        refused = None
        for rule in rules:
            try:
                fetched.is_vouched_for(rule)
            except Denied as denied:
                refused = refused or denied
            else:
                return fetched
        assert refused is not None
        raise refused
