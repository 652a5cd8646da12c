from typing import NamedTuple

class Create(NamedTuple):
    path: str
    data: bytes
    acl: list[object]
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
