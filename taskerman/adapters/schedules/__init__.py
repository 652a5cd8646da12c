"""Schedules that are declared in files: in a folder or in S3, read whole or not at all."""

from __future__ import annotations

from taskerman.adapters.schedules.bucket import Bucket
from taskerman.adapters.schedules.declared import DeclaredFiles
from taskerman.adapters.schedules.folder import Folder

__all__ = ["Bucket", "DeclaredFiles", "Folder"]
