"""Programs from S3, kept by their hash. A program is what its hash says, or it is not run.

    <folder>/binaries/<sha256>        what was fetched; its place here is no proof of anything
    <folder>/binaries/<sha256>.sig    who vouched for it, as far as that was asked

What is run is a copy without a name, hashed while it was made, each time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from runners.command.config import AllowedBinary, CommandConfig
from runners.command.permission import Denied
from runners.command.private import open_folder, private_file
from runners.command.trust import untrusted
from runners.objects import NoSuchObject, ObjectStore

__all__ = ["Altered", "Fetched", "signed_text"]

CHUNK = 1024 * 1024
_ABANDONED_S = 86400.0


class Altered(Exception):
    """What was fetched, or kept, is not what the task names."""


def signed_text(sha256: str) -> bytes:
    """What a signer signs for a program."""
    return f"taskerman binary {sha256}".encode()


class Fetched:
    """One program, on this node and in S3."""

    def __init__(self, config: CommandConfig, url: str, sha256: str) -> None:
        """`url`: `s3://bucket/key`. Asks nobody anything."""
        bucket, _, self._key = url.removeprefix("s3://").partition("/")
        self._store = ObjectStore(f"s3://{bucket}")
        self._config = config
        self._url = url
        self._sha256 = sha256
        self._signature = b""

    @property
    def _kept(self) -> str:
        return os.path.join(self._config.folder, "binaries", self._sha256)

    def size(self) -> int:
        """Its bytes, of what is here, else of what is there. Raises `Denied`, `NoSuchObject`, `StoreUnavailable`."""
        try:
            size = os.lstat(self._kept).st_size
        except OSError:
            size = self._store.stat(self._key).size
        self._fits(size)
        return size

    def is_vouched_for(self, rule: AllowedBinary) -> None:
        """By the hash in `rule`, or by its signer. Raises `Denied`, `StoreUnavailable`."""
        if rule.signer is None:
            return
        if wrong := untrusted(rule.signer, {os.geteuid()}, to_run=False):
            raise Denied(f"The key {rule.signer} is not taken: {wrong}.")
        text = signed_text(self._sha256)
        if _verify(rule.signer, self._kept_signature(), text):
            return
        wrong = f"{self._url} is not signed by the key in {rule.signer}"
        try:
            signature = self._store.read_all(f"{self._key}.sig", most=1024)
        except NoSuchObject:
            raise Denied(f"{wrong}: there is no {self._url}.sig. `taskerman upload --sign-with` makes it.") from None
        if not _verify(rule.signer, signature, text):
            raise Denied(f"{wrong}: {self._url}.sig is somebody else's, or of another program. Upload it anew.")
        self._signature = signature  # kept beside the program, so that one that is here needs nobody

    @contextmanager
    def copy(self, attempt: str) -> Iterator[int]:
        """A descriptor of a private copy, verified. Fetches it where it is not kept, or is not what it was.

        Raises `Altered`, `Denied`, `StoreUnavailable`, `OSError`.
        """
        folder = open_folder(self._config.folder, "binaries")
        with ExitStack() as held:
            try:
                descriptor = held.enter_context(private_file(folder, self._verified()))
            except (Altered, FileNotFoundError):  # not here yet, changed where it lies, or pruned just now
                self._fetch(folder, attempt)
                descriptor = held.enter_context(private_file(folder, self._verified()))
            os.utime(self._kept)  # what is used stays longest
            self._keep_signature()
            yield descriptor

    # --- parts ----------------------------------------------------------------------------------------------

    def _verified(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        with open(os.open(self._kept, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                yield chunk
        if digest.hexdigest() != self._sha256:
            raise Altered(f"{self._kept} is not what was fetched")

    def _fetch(self, folder: str, attempt: str) -> None:
        self._make_room(folder)
        aside = f"{self._kept}.{attempt}.part"
        digest, size = hashlib.sha256(), 0
        try:
            with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
                for chunk in self._store.read(self._key, chunk_bytes=CHUNK):
                    size += len(chunk)
                    self._fits(size)
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != self._sha256:
                raise Altered(
                    f"{self._url} has the sha256 {digest.hexdigest()}, and the task names {self._sha256}. "
                    "It is not run: find out who changed it, or correct the task."
                )
            os.rename(aside, self._kept)
        except BaseException:
            _remove(aside)
            raise

    def _fits(self, size: int) -> None:
        most = self._config.binary_max_bytes
        if size > most:
            raise Denied(
                f"{self._url} has {size:,} bytes or more, and this node takes {most:,}. If it is to take more, its "
                "operator raises binary_max_bytes."
            )

    def _kept_signature(self) -> bytes:
        try:
            with open(os.open(f"{self._kept}.sig", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                return file.read(1024)
        except OSError:
            return b""

    def _keep_signature(self) -> None:
        """Torn or changed, it verifies nothing, and is fetched again."""
        if self._signature:
            how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(f"{self._kept}.sig", how, 0o600), "wb") as file:
                file.write(self._signature)

    def _make_room(self, folder: str) -> None:
        """Remove what was used longest ago beyond what may be kept, and what interrupted ones left."""
        with os.scandir(folder) as entries:
            files = [(entry.path, entry.stat(follow_symlinks=False)) for entry in entries]
        for path, found in files:
            if path.endswith(".part") and time.time() - found.st_mtime > _ABANDONED_S:
                _remove(path)
        kept = sorted(((p, s) for p, s in files if not p.endswith(".part")), key=lambda each: -each[1].st_mtime)
        total = 0
        for path, found in kept:
            total += found.st_size
            if total > self._config.cache_max_bytes:
                _remove(path)


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):  # another attempt made room, too
        os.unlink(path)


def _verify(file: str, signature: bytes, text: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415  (only who signs)
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        with open(file, "rb") as opened:
            key = serialization.load_pem_public_key(opened.read())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise Denied(f"{file} holds no Ed25519 public key (PEM): {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise Denied(f"{file} holds no Ed25519 public key (PEM).")
    try:
        key.verify(base64.b64decode(signature, validate=True), text)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True
