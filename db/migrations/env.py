"""Run the migrations on the connection that `db.engine.migrate` hands over.

Alembic executes this file each time it migrates, so unlike every other module it acts when loaded.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
