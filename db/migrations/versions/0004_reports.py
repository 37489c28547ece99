"""What reports need: all that a check found, its expiry, the case it was sent as; and batches of checks.

Checks made before have a report of their verdict and rationale alone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the columns of checks, then the tables of batches."""
    _checks()
    _batches()


def _checks() -> None:
    """Add columns; SQLite takes a reference in ADD COLUMN only, without a new table."""
    for name in ("claimed_date", "claimed_place", "url"):
        op.add_column("checks", sa.Column(name, sa.String(), nullable=True))
    op.add_column("checks", sa.Column("cannot_tell", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("checks", sa.Column("found", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("checks", sa.Column("expires_at", TIME, nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "ALTER TABLE checks ADD COLUMN case_id INTEGER CONSTRAINT fk_checks_case_id REFERENCES cases (id)"
        )
    else:
        op.add_column("checks", sa.Column("case_id", sa.Integer(), nullable=True))
        op.create_foreign_key("fk_checks_case_id", "checks", "cases", ["case_id"], ["id"])
    op.create_index("ix_checks_annotator", "checks", ["annotator_id", "id"])
    op.create_index("ix_checks_expires_at", "checks", ["expires_at"])
    op.create_index("ix_checks_case_id", "checks", ["case_id"])


def _batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("name <> ''", name="ck_batches_name_not_empty"),
        sa.CheckConstraint("row_count > 0", name="ck_batches_row_count"),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_batches_annotator_id"),
        sa.PrimaryKeyConstraint("id", name="pk_batches"),
        sa.UniqueConstraint("token", name="uq_batches_token"),
    )
    op.create_index("ix_batches_annotator", "batches", ["annotator_id", "id"])
    op.create_index("ix_batches_digest", "batches", ["digest"])
    op.create_table(
        "batch_rows",
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("image", sa.String(), nullable=False),
        sa.Column("caption", sa.String(), nullable=False),
        sa.Column("claimed_date", sa.String(), nullable=True),
        sa.Column("claimed_place", sa.String(), nullable=True),
        sa.Column("refused", sa.String(), nullable=True),
        sa.Column("check_id", sa.Integer(), nullable=True),
        sa.Column("done_at", TIME, nullable=True),
        sa.CheckConstraint("number > 0", name="ck_batch_rows_number"),
        sa.CheckConstraint("check_id IS NULL OR done_at IS NOT NULL", name="ck_batch_rows_check_id_done"),
        sa.CheckConstraint("refused IS NULL OR done_at IS NOT NULL", name="ck_batch_rows_refused_done"),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name="fk_batch_rows_batch_id"),
        sa.ForeignKeyConstraint(["check_id"], ["checks.id"], name="fk_batch_rows_check_id"),
        sa.PrimaryKeyConstraint("batch_id", "number", name="pk_batch_rows"),
    )
    op.create_index("ix_batch_rows_check_id", "batch_rows", ["check_id"])
