"""What adjudication needs: rulings sent back, why people were split, and what was on screen.

Rulings made before say nothing of the last two.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
CHECKS = {
    "ck_rulings_cause": "cause IN ('ambiguous_caption', 'guideline_gap', 'slip', 'edge_case', 'judgement')",
    "ck_rulings_cause_settles": "cause IS NULL OR settles",
}


def upgrade() -> None:
    """Add the columns, then the table."""
    op.add_column("rulings", sa.Column("shown", sa.JSON(), nullable=True))
    op.add_column("rulings", sa.Column("guidelines", sa.Integer(), nullable=True))
    _cause()
    _returns()


def _cause() -> None:
    """Add the column with its checks; SQLite takes them in ADD COLUMN only, without a new table."""
    if op.get_bind().dialect.name == "sqlite":
        checks = "\n".join(f"CONSTRAINT {name} CHECK ({check})" for name, check in CHECKS.items())
        op.execute(f"ALTER TABLE rulings ADD COLUMN cause VARCHAR(20)\n{checks}")
    else:
        op.add_column("rulings", sa.Column("cause", sa.String(20), nullable=True))
        for name, check in CHECKS.items():
            op.create_check_constraint(name, "rulings", check)
    op.create_index(
        "ix_rulings_cause",
        "rulings",
        ["cause"],
        sqlite_where=sa.text("cause IS NOT NULL"),
        postgresql_where=sa.text("cause IS NOT NULL"),
    )


def _returns() -> None:
    op.create_table(
        "returns",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ruling_id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("ruled_by", sa.Integer(), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_returns_annotator_id"),
        sa.ForeignKeyConstraint(
            ["case_id", "ruled_by", "ruling_id"],
            ["rulings.case_id", "rulings.annotator_id", "rulings.id"],
            name="fk_returns_ruling",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_returns"),
        sa.UniqueConstraint("ruling_id", name="uq_returns_ruling_id"),
    )
    op.create_index("ix_returns_ruled_by", "returns", ["ruled_by", "id"])
    sqlite = op.get_bind().dialect.name == "sqlite"
    refuse = "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    if sqlite:
        refuse = "BEGIN SELECT RAISE(ABORT, 'returns is insert-only'); END"
    for change in ("UPDATE", "DELETE"):
        op.execute(f"CREATE TRIGGER returns_no_{change.lower()} BEFORE {change} ON returns {refuse}")
    if not sqlite:
        op.execute(
            "CREATE TRIGGER returns_no_truncate BEFORE TRUNCATE ON returns "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
