"""The agent of a node: one loop that decides, a mailbox, a journal, and a child process for every attempt."""

from taskerman.agent.journal import JournalFile
from taskerman.agent.loop import Agent
from taskerman.agent.profile import Profile

__all__ = ["Agent", "JournalFile", "Profile"]
