"""The Auto Scaling group of this machine, as AWS tells it: who is in service, and the one request that ends a machine.

Endpoint, region and identity are those of the environment. A refusal is told apart from an answer that did not come:
what was refused did not happen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError

__all__ = ["Group", "GroupUnavailable", "Groups", "NotAsked"]

IN_SERVICE = "InService"
_NEEDED = ("Launch", "Terminate", "AddToLoadBalancer")
_RIGHTS = ("AccessDenied", "UnauthorizedOperation")
_FOR_GOOD = (*_RIGHTS, "ValidationError", "InvalidClientTokenId", "SignatureDoesNotMatch")


class GroupUnavailable(Exception):
    """AWS does not say how the group is. `for_good`: waiting will not help; a person must change something."""

    def __init__(self, why: str, *, for_good: bool) -> None:
        super().__init__(why)
        self.for_good = for_good


class NotAsked(Exception):
    """The group refused to terminate the machine: nothing was done."""


@dataclass(frozen=True, slots=True)
class Group:
    """One group, now. `state`: of this machine in it ("InService", "Terminating", ...; "" when it is not in it any
    more). `desired`: how many it keeps. `serving`: how many are in service and healthy. `suspended`: of the processes
    that a replacement needs, those that a person has stopped."""

    name: str
    state: str
    healthy: bool
    desired: int
    serving: int
    suspended: tuple[str, ...] = ()


class Groups:
    """The door to AWS. Nothing is asked before the first question."""

    def __init__(self) -> None:
        self._made: Any = None

    def of(self, machine: str) -> Group | None:
        """The group of `machine`; None: it is in none. Raises `GroupUnavailable`."""
        doing = f"ask for the Auto Scaling group of {machine}"
        found = self._call("describe_auto_scaling_instances", doing, InstanceIds=[machine])["AutoScalingInstances"]
        if not found:
            return None
        name, state, health = (found[0][key] for key in ("AutoScalingGroupName", "LifecycleState", "HealthStatus"))
        groups = self._call("describe_auto_scaling_groups", doing, AutoScalingGroupNames=[name])["AutoScalingGroups"]
        if not groups:
            return None
        (group,) = groups
        serving = [
            each
            for each in group["Instances"]
            if each["LifecycleState"] == IN_SERVICE and each["HealthStatus"].lower() == "healthy"
        ]
        suspended = {each["ProcessName"] for each in group.get("SuspendedProcesses", ())}
        return Group(
            name=name,
            state=state,
            healthy=health.lower() == "healthy",
            desired=group["DesiredCapacity"],
            serving=len(serving),
            suspended=tuple(each for each in _NEEDED if each in suspended),
        )

    def terminate(self, machine: str) -> None:
        """Ask the group to end `machine` and to start another in its place.

        Raises `NotAsked` when it was refused; `GroupUnavailable` when no answer came: it may happen.
        """
        doing = f"terminate {machine}"
        client = self._client()
        try:
            client.terminate_instance_in_auto_scaling_group(InstanceId=machine, ShouldDecrementDesiredCapacity=False)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500) < 500:
                raise NotAsked(f"Cannot {doing}: {error}") from error
            raise GroupUnavailable(f"Cannot {doing}: {error}", for_good=False) from error
        except BotoCoreError as error:
            raise GroupUnavailable(f"Cannot {doing}: {error}", for_good=False) from error

    def _call(self, operation: str, doing: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client(), operation)(**arguments)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            right = operation.replace("_", " ").title().replace(" ", "")
            hint = f" This machine needs the right autoscaling:{right}." if code in _RIGHTS else ""
            raise GroupUnavailable(f"Cannot {doing}: {code or error}.{hint}", for_good=code in _FOR_GOOD) from error
        except BotoCoreError as error:
            raise GroupUnavailable(f"Cannot {doing}: {error}", for_good=False) from error

    def _client(self) -> Any:
        if self._made is None:
            config = ClientConfig(
                retries={"total_max_attempts": 3, "mode": "standard"}, connect_timeout=5, read_timeout=15
            )
            try:
                self._made = boto3.client("autoscaling", config=config)
            except BotoCoreError as error:
                raise GroupUnavailable(f"There is no AWS client: {error}", for_good=True) from error
        return self._made
