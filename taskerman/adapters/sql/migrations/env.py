"""What Alembic executes to migrate. It opens nothing: whoever migrates hands it a connection that holds the lock.

That is `taskerman.adapters.sql.migration`; there is no way around the lock, and so no way for two to migrate at once.
"""

from __future__ import annotations

from alembic import context

from taskerman.adapters.sql.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
