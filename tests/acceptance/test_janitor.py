"""The shipped janitor: holds end, and what a terminated machine had to do ends; another one takes over when it dies."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.conftest import OpenScriptedHouse
from tests.support.aws import LocalCloud

pytestmark = pytest.mark.timeout(240)

HASTE = json.dumps({"turn_s": 0.3, "reclaim_every_s": 0.5, "settle_every_s": 0.5, "settle_grace_s": 0})


def test_a_hold_ends_and_a_terminated_machine_is_gone_although_the_first_janitor_was_killed(
    scripted_house: OpenScriptedHouse, local_cloud: LocalCloud
) -> None:
    house = scripted_house(2)
    installation = house.installation
    installation.must("unhold", "new-installation", "--why", "a test")
    installation.start_router()
    first, second = (installation.start_janitor(TASKERMAN_JANITOR=HASTE) for _ in range(2))
    installation.until(lambda: first.events("janitor_leads") or second.events("janitor_leads"), "one leads")
    leader = first if first.events("janitor_leads") else second
    installation.must("hold", "everything", "--for", "3s", "--why", "a test")
    leader.may_end = True
    leader.kill()
    task = house.send(house.document("t-1"), begin=False)
    installation.until(lambda: not installation.must("status", "--json").json["holds"], "the other lifts the hold")
    node = house.nodes[0]
    installation.until(lambda: installation.run("status", task, "--json").code == 0, "it is planned")
    local_cloud.terminate([node])
    house.wait_for(task, ends=1)
    assert house.records.outcomes(task) == {node: "gone"}
    installation.until(lambda: house.depth(f"{installation.prefix}-dead-letter"), "a person is told")
