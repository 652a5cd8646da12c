"""Who this machine is, as the machine itself is told: EC2's instance metadata, version 2 (with a session token).

Agents never call EC2. This reads the link-local service of the instance: its id, and its tags where the instance
allows them in metadata (`InstanceMetadataTags=enabled`). It refuses to fall back to anything else: an agent that
guesses who it is would act as another node.

Source: "Use IMDS" and "Work with instance tags using the IMDS" in the EC2 user guide.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from datetime import timedelta

from taskerman.errors import Ec2Unavailable, UsageError
from taskerman.model.cluster import clusters_of_tag
from taskerman.model.ids import ClusterName

__all__ = ["ENDPOINT", "InstanceMetadata"]

ENDPOINT = "http://169.254.169.254"
_SESSION_S = "300"
_ANSWER_S = 2.0
_AGAIN_S = 1.0


class InstanceMetadata:
    """The metadata service of this machine. Each question is repeated for `patience` before it is given up."""

    def __init__(self, *, endpoint: str = ENDPOINT, patience: timedelta = timedelta(seconds=60)) -> None:
        """`endpoint`: without a path. `patience`: a machine that has just booted may not know itself yet."""
        self._endpoint = endpoint.rstrip("/")
        self._patience = patience
        # Never by way of a proxy: the service answers for the machine that asks.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def instance_id(self) -> str:
        """The id of this instance. Raises `Ec2Unavailable` when nobody answers."""
        answer = self._ask("/latest/meta-data/instance-id")
        if not answer:
            raise Ec2Unavailable("The instance metadata has no instance-id.", next_step="Set TASKERMAN_NODE_ID.")
        return answer

    def tag(self, name: str) -> str:
        """The value of one of this instance's tags.

        Raises `Ec2Unavailable`, and `UsageError` when the instance has no such tag or does not show its tags.
        """
        answer = self._ask(f"/latest/meta-data/tags/instance/{name}")
        if not answer:
            raise UsageError(
                f"The instance metadata shows no tag {name!r}.",
                next_step="Tag the instance and enable tags in its metadata, or set TASKERMAN_CLUSTERS.",
            )
        return answer

    def clusters(self, tag: str) -> tuple[ClusterName, ...]:
        """The clusters of this instance, which one of its tags names. Raises as `tag` does, and `UsageError`."""
        value = self.tag(tag)
        try:
            return clusters_of_tag(value)
        except ValueError as error:
            raise UsageError(
                f"The tag {tag!r} of this instance does not name its clusters: {error}.",
                next_step="Write it like redis:a, or redis:a redis:b for several; or set TASKERMAN_CLUSTERS.",
            ) from None

    def _ask(self, path: str) -> str | None:
        """The answer; None for a definite "there is no such thing"."""
        give_up_at = time.monotonic() + self._patience.total_seconds()
        while True:
            try:
                return self._once(path)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code == 404:
                        return None
                    why = f"HTTP {error.code}"
            except OSError as error:
                why = str(error)
            if time.monotonic() + _AGAIN_S >= give_up_at:
                raise Ec2Unavailable(
                    f"The instance metadata at {self._endpoint} does not answer: {why}.",
                    next_step="Is this an EC2 instance? If not, set TASKERMAN_NODE_ID and TASKERMAN_CLUSTERS.",
                )
            time.sleep(_AGAIN_S)

    def _once(self, path: str) -> str:
        ask = urllib.request.Request(  # noqa: S310  the endpoint is ours, not a document's
            f"{self._endpoint}/latest/api/token",
            method="PUT",
            headers={"X-aws-ec2-metadata-token-ttl-seconds": _SESSION_S},
        )
        with self._opener.open(ask, timeout=_ANSWER_S) as answer:
            token = answer.read().decode()
        ask = urllib.request.Request(  # noqa: S310  as above
            f"{self._endpoint}{path}", headers={"X-aws-ec2-metadata-token": token}
        )
        with self._opener.open(ask, timeout=_ANSWER_S) as answer:
            return str(answer.read().decode()).strip()
