from typing import NamedTuple

OPEN_ACL_UNSAFE: list[object]

class Id(NamedTuple):
    scheme: str
    id: str

class ACL(NamedTuple):
    perms: int
    id: Id

def make_digest_acl(username: str, password: str, *, all: bool = ...) -> object: ...  # noqa: A002
