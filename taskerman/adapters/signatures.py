"""Ed25519 signatures of task documents: checked by routers, made by `submit`. Keys are PEM files.

What is signed is the canonical JSON of the document (sorted keys, no spaces, UTF-8) without its `signature`; the task
id is in it, so a signature cannot be used for another task, and the same task is planned once. It refuses what it
cannot check: a signature by an unknown key is no better than none, and worse than an honest none.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from taskerman.errors import SignatureRefused, UsageError
from taskerman.model.base import canonical_json
from taskerman.model.ids import Owner
from taskerman.model.task import TaskDocument

__all__ = ["KeySource", "SignatureKeys", "generate_key", "sign", "sign_program"]


@dataclass(frozen=True, slots=True)
class KeySource:
    """A public key that is accepted. `owners`: whose tasks it may sign; empty: anybody's."""

    file: Path
    owners: Sequence[Owner] = ()


class SignatureKeys:
    """The keys that are accepted, by their ids: a `Signatures`."""

    def __init__(self, keys: Mapping[str, KeySource], *, required: bool = False) -> None:
        """`required`: an unsigned document is refused. Reads the files. Raises `UsageError`."""
        if required and not keys:
            raise UsageError(
                "Signatures are required, and no key is accepted: every document would be refused.",
                next_step="Name the keys in TASKERMAN_SIGNATURE_KEYS.",
            )
        self._keys = {name: (_public(source.file), frozenset(source.owners)) for name, source in keys.items()}
        self._required = required

    def check(self, document: TaskDocument, received: Mapping[str, Any]) -> None:
        """See `Signatures.check`."""
        signature, task = document.signature, document.task_id
        if signature is None:
            if self._required:
                raise SignatureRefused(
                    f"Task {task} is not signed, and this installation takes no unsigned documents.",
                    next_step="Sign it: `taskerman submit --sign-with KEYFILE`.",
                )
            return
        if signature.key not in self._keys:
            known = ", ".join(sorted(self._keys)) or "none"
            raise SignatureRefused(
                f"Task {task} is signed with the key {signature.key}, which is not accepted here ({known}).",
                next_step="Sign it with one that is, or add the key to TASKERMAN_SIGNATURE_KEYS of every router.",
            )
        key, owners = self._keys[signature.key]
        try:
            key.verify(base64.b64decode(signature.value), _signed(received))
        except InvalidSignature:
            raise SignatureRefused(
                f"The signature of task {task} does not fit: the document was changed, or another key signed it.",
                next_step="Find out who changed it; sign what is wanted anew.",
            ) from None
        if owners and document.owner not in owners:
            raise SignatureRefused(
                f"The key {signature.key} does not sign for {document.owner} ({', '.join(sorted(owners))}).",
                next_step="Let one of its owners submit it, or sign it with that owner's key.",
            )


def sign_program(sha256: str, file: Path) -> bytes:
    """What a node asks for that runs programs of a signer: by the private key in `file`, of the content's hash.

    Raises `UsageError`.
    """
    return base64.b64encode(_private(file).sign(f"taskerman binary {sha256}".encode()))


def sign(document: Mapping[str, Any], file: Path, key: str = "") -> dict[str, Any]:
    """`document` with its signature, by the private key in `file`. An earlier signature is replaced.

    `key`: the key's id; the file's name without its ending when empty. The document is to have its task id.
    Raises `UsageError`.
    """
    value = base64.b64encode(_private(file).sign(_signed(document))).decode()
    return {**document, "signature": {"key": key or file.stem, "value": value}}


def generate_key(file: Path) -> Path:
    """Make a key pair: `file` (for its owner's eyes only) and, beside it, `.pub`; returns that one's path.

    Raises `UsageError`: there is such a file already, or it cannot be made.
    """
    private = Ed25519PrivateKey.generate()
    form, sealed = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    public = file.with_suffix(".pub")
    try:
        if public.exists():
            raise FileExistsError
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(private.private_bytes(serialization.Encoding.PEM, form, sealed))
        public.write_bytes(
            private.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
    except FileExistsError:
        raise UsageError(f"{file} or {public} is there already.", next_step="Choose another name.") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.", next_step="Check its folder.") from None
    return public


def _signed(document: Mapping[str, Any]) -> bytes:
    return canonical_json({name: value for name, value in document.items() if name != "signature"})


def _private(file: Path) -> Ed25519PrivateKey:
    try:
        private = serialization.load_pem_private_key(_read(file), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise UsageError(
            f"{file} holds no Ed25519 private key without a password (PEM).",
            next_step="Make one: `taskerman keys generate FILE`.",
        )
    return private


def _public(file: Path) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(_read(file))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{file} holds no Ed25519 public key (PEM).", next_step="See TASKERMAN_SIGNATURE_KEYS.")
    return key


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.", next_step="Check its path and rights.") from None
