"""What each role may and may not do, asked of a real ZooKeeper: the table of the documentation is this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from taskerman.adapters.zookeeper import Credential, ZookeeperTree
from taskerman.adapters.zookeeper.securing import secure as secure_tree
from taskerman.control.rights import rights_here, role_here
from taskerman.control.subject import Subject
from taskerman.coordination.rights import ROWS, rights_on
from taskerman.errors import NotPermitted, UsageError
from taskerman.model.rights import Role
from taskerman.ports.tree import Check, Create, Delete, Op, Set, Tree
from taskerman.testing.zookeeper_server import ZookeeperServer
from tests.support.fleet import Fleet
from tests.support.identities import CREDENTIALS, IDENTITIES, secure
from tests.support.zookeeper import OpenTree

pytestmark = pytest.mark.real

NEVER = 2**31 - 1
As = Callable[..., ZookeeperTree]


@pytest.fixture
def come(open_tree: OpenTree, zookeeper: ZookeeperServer, zookeeper_root: str) -> As:
    """Opens a client with the identity of a role."""
    secure(zookeeper.hosts, zookeeper_root)

    def as_role(role: Role, **options: object) -> ZookeeperTree:
        return open_tree(credential=CREDENTIALS[role], **options)

    return as_role


def may(tree: Tree, *ops: Op) -> bool:
    """Whether ZooKeeper would permit it; nothing happens."""
    try:
        tree.commit([*ops, Check("/", NEVER)])
    except NotPermitted:
        return False
    return True


SAMPLES = [
    *(row.path for row in ROWS),
    "/tasks",
    "/tasks/*",
    "/clusters",
    "/clusters/*/open/*",
    "/scopes",
    "/refused/*",
]


def test_every_kind_of_record_has_the_rights_that_the_table_says(come: As) -> None:
    """For every role, every kind of path, and every right that changes something."""
    person = come(Role.CONTROL)
    agent = come(Role.AGENT)
    paths = sorted({sample.replace("*", "x") for sample in SAMPLES} - {"/", "/rights"})
    person.ensure(*(path for path in paths if not rights_on(path).own))
    for path in paths:
        if rights_on(path).own:
            agent.ensure(path)
    for role in Role:
        tree = come(role)
        for path in ["/", "/rights", *paths]:
            letters = set(rights_on(path).of(role)) | (set(rights_on(path).own) if role is Role.AGENT else set())
            child = f"{path.rstrip('/')}/probe"
            assert may(tree, Set(path, b"", NEVER)) is ("w" in letters), f"{role} writes {path}"
            assert may(tree, Create(child)) is ("c" in letters), f"{role} creates below {path}"
            person.ensure(child)
            assert may(tree, Delete(child)) is ("d" in letters), f"{role} deletes below {path}"
            person.commit([Delete(child)])
            assert tree.get(path) is not None, f"{role} reads {path}"


@pytest.mark.parametrize(
    ("role", "denied"),
    [
        (Role.AGENT, [Set("/control", b"", None)]),
        (Role.AGENT, [Create("/tasks/mine")]),
        (Role.AGENT, [Create("/clusters/demo:web")]),
        (Role.AGENT, [Create("/groups/backup")]),
        (Role.AGENT, [Create("/schedules/nightly")]),
        (Role.AGENT, [Delete("/nodes/n1")]),
        (Role.AGENT, [Create("/audit/", sequence=True)]),
        (Role.JANITOR, [Set("/rights", b"", None)]),
        (Role.READER, [Create("/strangers/n1")]),
        (Role.READER, [Set("/control", b"", None)]),
    ],
    ids=str,
)
def test_what_is_not_a_roles_business_is_denied_and_said(come: As, role: Role, denied: list[Op]) -> None:
    """E-DENIED, exit code 6, and a next step; nothing happened."""
    person = come(Role.CONTROL)
    person.ensure("/control", "/tasks", "/clusters", "/groups", "/schedules", "/nodes/n1", "/audit", "/strangers")
    with pytest.raises(NotPermitted) as refused:
        come(role).commit(denied)
    assert (refused.value.code, refused.value.exit_code) == ("E-DENIED", 6)
    assert "TASKERMAN_ZOOKEEPER_USER" in refused.value.next_step
    assert person.get("/tasks/mine") is None


def test_a_node_with_an_identity_of_its_own_has_its_record_to_itself(come: As) -> None:
    """Another node's agent has the same role, and may not write it; control and janitor may."""
    one = come(Role.AGENT, node_credential=Credential("n1", "secret of n1"))
    other = come(Role.AGENT, node_credential=Credential("n2", "secret of n2"))
    come(Role.CONTROL).ensure("/nodes", "/strangers")
    one.commit([Create("/nodes/n1", b"1")])
    one.commit([Set("/nodes/n1", b"2", None)])
    with pytest.raises(NotPermitted):
        other.commit([Set("/nodes/n1", b"3", None)])
    for role in (Role.CONTROL, Role.JANITOR):
        come(role).commit([Set("/nodes/n1", role.value.encode(), None)])


def test_giving_rights_again_changes_the_passwords_and_leaves_nodes_their_own(come: As, open_tree: OpenTree) -> None:
    """A password is changed by naming the old and the new, and then the new alone."""
    come(Role.CONTROL).ensure("/nodes")
    one = come(Role.AGENT, node_credential=Credential("n1", "secret of n1"))
    one.commit([Create("/nodes/n1", b"1")])
    newer = Credential("agent", "a new secret")
    secure_tree(come(Role.CONTROL), IDENTITIES.model_copy(update={"agent": (*IDENTITIES.agent, newer.digest)}))
    open_tree(credential=newer).commit([Create("/nodes/n2")])
    secure_tree(come(Role.CONTROL), IDENTITIES.model_copy(update={"agent": (newer.digest,)}))
    with pytest.raises(NotPermitted):
        come(Role.AGENT)
    one = open_tree(credential=newer, node_credential=Credential("n1", "secret of n1"))
    one.commit([Set("/nodes/n1", b"2", None)])
    with pytest.raises(NotPermitted):
        open_tree(credential=newer).commit([Set("/nodes/n1", b"3", None)])


def test_who_sets_rights_cannot_lock_himself_out(open_tree: OpenTree) -> None:
    tree = open_tree(credential=CREDENTIALS[Role.AGENT])
    with pytest.raises(UsageError, match="lock out"):
        secure_tree(tree, IDENTITIES)
    assert tree.get("/rights") is None


def test_an_open_installation_is_closed_with_everything_that_is_in_it(
    open_tree: OpenTree, zookeeper: ZookeeperServer, zookeeper_root: str
) -> None:
    """`init` gives rights to what was there before; who was connected meanwhile has no more than anybody else."""
    before = open_tree()
    before.ensure("/tasks/t/end/n", "/control")
    secure(zookeeper.hosts, zookeeper_root)
    for path in ("/", "/rights", "/control", "/tasks/t/end/n"):
        with pytest.raises(NotPermitted):
            before.get(path)


def test_nobody_is_told_at_once_that_he_is_nobody(come: As, open_tree: OpenTree) -> None:
    """No identity, or the wrong password: it is said when the client connects."""
    with pytest.raises(NotPermitted):
        open_tree()
    with pytest.raises(NotPermitted):
        open_tree(credential=Credential("control", "wrong"))


def test_doctor_finds_out_what_it_may_do(come: As, open_tree: OpenTree) -> None:
    """By asking ZooKeeper. An agent's machine with control's rights is told."""
    come(Role.CONTROL).ensure("/control", "/nodes", "/tasks")
    for role in Role:
        assert role_here(come(role)) is role
    fleet = Fleet()
    found = [
        rights_here(replace(fleet.desk, tree=come(role)), Subject(node="n1"))[0].level
        for role in (Role.CONTROL, Role.JANITOR, Role.AGENT, Role.READER)
    ]
    assert found == ["warn", "warn", "ok", "fail"]
