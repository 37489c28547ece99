"""What was measured in a run in which a teacher was asked.

Runs before measured nothing, or noted it as an event: those events stay as they are.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("teach_runs", sa.Column("found", sa.JSON(), nullable=True))
