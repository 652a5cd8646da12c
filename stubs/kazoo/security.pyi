OPEN_ACL_UNSAFE: list[object]

def make_digest_acl(username: str, password: str, *, all: bool = ...) -> object: ...  # noqa: A002
