"""What a newsroom needs: kinds of cases, a queue in buckets, audits, people who sign in, full text.

`kinds`, `strata`, `case_texts`, `buckets` and `queue` are derived from the rest; `db.derived.rebuild`
fills them in the same transaction, right after the migration. The queue of the first version goes
with its leases: whoever held a case is handed it again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
REASONS = "'conflict', 'no_verdict', 'audit', 'second_opinion', 'split_rulings', 'student_unsure', 'sent'"


def upgrade() -> None:
    """Create what is new, in the order of the foreign keys."""
    _kinds()
    _people()
    _queue()
    _texts()
    _refuse_better()


def _kinds() -> None:
    op.create_table(
        "kinds",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("split", sa.String(20), nullable=False),
        sa.Column("has_image", sa.Boolean(), nullable=False),
        sa.Column("gold", sa.String(20), nullable=False),
        sa.Column("pattern", sa.String(), nullable=False),
        sa.Column("human", sa.String(20), nullable=False),
        sa.Column("rulings", sa.Integer(), nullable=False),
        sa.Column("own_rationales", sa.Integer(), nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_kinds"),
        sa.UniqueConstraint(
            "pattern", "split", "has_image", "gold", "human", "rulings", "own_rationales",
            name="uq_kinds_whole",
        ),
    )  # fmt: skip
    op.create_table(
        "strata",
        sa.Column("what", sa.String(20), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("what", "name", name="pk_strata"),
    )
    op.add_column("cases", sa.Column("note", sa.String(), nullable=True))
    _add_reference("cases", "kind_id", "kinds")
    op.create_index("ix_cases_kind", "cases", ["kind_id", "id"])
    op.create_index("ix_cases_source", "cases", ["source", "id"])
    op.add_column("opinions", sa.Column("elements", sa.JSON(), nullable=True))
    op.create_index(
        "ix_opinions_former",
        "opinions",
        ["case_id"],
        sqlite_where=sa.text("current = 0"),
        postgresql_where=sa.text("NOT current"),
    )


def _people() -> None:
    op.add_column("annotators", sa.Column("active", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("annotators", sa.Column("password_hash", sa.String(), nullable=True))
    op.add_column("rulings", sa.Column("settles", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("ix_rulings_annotator_case", "rulings", ["annotator_id", "case_id"])
    op.create_index(
        "ix_rulings_flagged",
        "rulings",
        ["case_id"],
        sqlite_where=sa.text("flagged = 1"),
        postgresql_where=sa.text("flagged"),
    )


def _queue() -> None:
    op.create_table(
        "queue_rules",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("split", sa.Double(), nullable=False),
        sa.Column("doubt", sa.Double(), nullable=False),
        sa.Column("rarity", sa.Double(), nullable=False),
        sa.Column("second_opinions", sa.Double(), nullable=False),
        sa.Column("audit_turns", sa.Double(), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint(
            "second_opinions >= 0 AND second_opinions <= 1", name="ck_queue_rules_second_opinions"
        ),
        sa.CheckConstraint("audit_turns >= 0 AND audit_turns <= 1", name="ck_queue_rules_audit_turns"),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_queue_rules_annotator_id"),
        sa.PrimaryKeyConstraint("id", name="pk_queue_rules"),
    )
    _refuse_changes("queue_rules")
    op.create_table(
        "buckets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("why", sa.String(20), nullable=False),
        sa.Column("closeness", sa.Integer(), nullable=False),
        sa.Column("doubt", sa.Integer(), nullable=False),
        sa.Column("rarity", sa.Integer(), nullable=False),
        sa.Column("ruled_by", sa.Integer(), nullable=False),
        sa.Column("worth", sa.Double(), nullable=False),
        sa.CheckConstraint(f"why IN ({REASONS})", name="ck_buckets_why"),
        sa.PrimaryKeyConstraint("id", name="pk_buckets"),
        sa.UniqueConstraint("why", "closeness", "doubt", "rarity", "ruled_by", name="uq_buckets_whole"),
    )
    op.drop_table("queue")
    op.create_table(
        "queue",
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("bucket_id", sa.Integer(), nullable=False),
        sa.Column("rulings_wanted", sa.Integer(), nullable=False),
        sa.Column("doubt", sa.Double(), nullable=True),
        sa.Column("annotator_id", sa.Integer(), nullable=True),
        sa.Column("leased_at", TIME, nullable=True),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("added_at", TIME, nullable=False),
        sa.CheckConstraint(
            "(annotator_id IS NULL) = (lease_until IS NULL) AND (annotator_id IS NULL) = (leased_at IS NULL)",
            name="ck_queue_lease_whole",
        ),
        sa.CheckConstraint("rulings_wanted >= 0", name="ck_queue_rulings_wanted"),
        sa.CheckConstraint("doubt >= 0 AND doubt <= 1", name="ck_queue_doubt"),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_queue_annotator_id"),
        sa.ForeignKeyConstraint(["bucket_id"], ["buckets.id"], name="fk_queue_bucket_id"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_queue_case_id"),
        sa.PrimaryKeyConstraint("case_id", name="pk_queue"),
    )
    op.create_index("ix_queue_order", "queue", ["bucket_id", "case_id"])
    op.create_index("ix_queue_holder", "queue", ["annotator_id", "leased_at"])
    op.create_table(
        "audits",
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("pseudo_label", sa.String(20), nullable=False),
        sa.Column("drawn_at", TIME, nullable=False),
        sa.CheckConstraint("pseudo_label IN ('in_context', 'out_of_context')", name="ck_audits_pseudo_label"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_audits_case_id"),
        sa.PrimaryKeyConstraint("case_id", name="pk_audits"),
    )
    op.create_table(
        "requests",
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("why", sa.String(20), nullable=False),
        sa.Column("rulings_wanted", sa.Integer(), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=True),
        sa.Column("requested_at", TIME, nullable=False),
        sa.CheckConstraint(f"why IN ({REASONS})", name="ck_requests_why"),
        sa.CheckConstraint("rulings_wanted >= 1", name="ck_requests_rulings_wanted"),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_requests_annotator_id"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_requests_case_id"),
        sa.PrimaryKeyConstraint("case_id", name="pk_requests"),
    )


def _texts() -> None:
    """Create the full-text index; it keeps no text of its own on SQLite, and only its words on PostgreSQL."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE case_texts USING fts5("
            "words, content='', "
            "tokenize='unicode61 remove_diacritics 2')"
        )
        return
    op.execute(
        "CREATE TABLE case_texts (case_id integer PRIMARY KEY REFERENCES cases (id), words tsvector NOT NULL)"
    )
    op.execute("CREATE INDEX ix_case_texts_words ON case_texts USING gin (words)")


def _add_reference(table: str, column: str, to: str) -> None:
    """Add a nullable foreign key; SQLite takes one in ADD COLUMN only, other databases as a constraint."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN {column} INTEGER "
            f"CONSTRAINT fk_{table}_{column} REFERENCES {to} (id)"
        )
        return
    op.add_column(table, sa.Column(column, sa.Integer(), nullable=True))
    op.create_foreign_key(f"fk_{table}_{column}", table, to, [column], ["id"])


def _refuse_better() -> None:
    """Let PostgreSQL refuse as SQLite does: as a broken constraint, and TRUNCATE too."""
    if op.get_bind().dialect.name == "sqlite":
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is insert-only', TG_TABLE_NAME"
        " USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    for table in ("rulings", "promotions", "events", "queue_rules"):
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def _refuse_changes(table: str) -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    for change in ("UPDATE", "DELETE"):
        act = (
            f"BEGIN SELECT RAISE(ABORT, '{table} is insert-only'); END"
            if sqlite
            else "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} {act}")
