from collections.abc import Sequence
from typing import NamedTuple

class Auth(NamedTuple):
    auth_type: int
    scheme: str
    auth: str

class Connect(NamedTuple):
    protocol_version: int

class Create(NamedTuple):
    path: str
    data: bytes
    acl: Sequence[object]
    flags: int

class Delete(NamedTuple):
    path: str
    version: int

class SetData(NamedTuple):
    path: str
    data: bytes
    version: int

class CheckVersion(NamedTuple):
    path: str
    version: int
