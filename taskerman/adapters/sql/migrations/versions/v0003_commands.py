"""Commands that ran under a slot.

Written in the plain types of the library, because a step must mean the same for ever, whatever ours become.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """From the table of schedules."""
    op.create_table(
        "command",
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("promise", sa.Integer(), nullable=False),
        sa.Column("host_group", sa.Text(), nullable=True),
        sa.Column("argv", sa.JSON(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("processes", sa.JSON(), nullable=False),
        sa.Column("began", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("how", sa.Text(), nullable=False),
        sa.Column("exit", sa.Integer(), nullable=True),
        sa.Column("max_rss_bytes", sa.BigInteger(), nullable=False),
        sa.Column("tail", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("holder", name="pk_command"),
    )
    op.create_index("ix_command_ended_at", "command", ["ended_at"])
    op.create_index("ix_command_scope_ended_at", "command", ["scope", "ended_at"])
    op.create_index("ix_command_host_ended_at", "command", ["host", "ended_at"])
