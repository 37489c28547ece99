"""The tables of the first version.

The triggers make `rulings`, `promotions` and `events` insert-only, for every program that opens the
database and not only for this one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
INSERT_ONLY = ("rulings", "promotions", "events")


def upgrade() -> None:
    """Create all tables, in the order of their foreign keys."""
    _cases()
    _rulings()
    _runs()
    _refuse_changes()


def _cases() -> None:
    """Create pictures, cases and what teachers said of them."""
    op.create_table(
        "images",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("format", sa.String(20), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("byte_size", sa.Integer(), nullable=False),
        sa.CheckConstraint("length(sha256) = 64", name="ck_images_sha256_length"),
        sa.CheckConstraint("width > 0 AND height > 0 AND byte_size > 0", name="ck_images_size"),
        sa.PrimaryKeyConstraint("sha256", name="pk_images"),
    )
    op.create_table(
        "cases",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=True),
        sa.Column("caption", sa.String(), nullable=False),
        sa.Column("gold", sa.String(20), nullable=True),
        sa.Column("split", sa.String(20), nullable=False),
        sa.Column("group_key", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=True),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("date", sa.String(), nullable=True),
        sa.Column("place", sa.String(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("caption <> ''", name="ck_cases_caption_not_empty"),
        sa.CheckConstraint("gold IN ('in_context', 'out_of_context')", name="ck_cases_gold"),
        sa.CheckConstraint("split IN ('train', 'validation', 'test')", name="ck_cases_split"),
        sa.ForeignKeyConstraint(["image_sha256"], ["images.sha256"], name="fk_cases_image_sha256"),
        sa.PrimaryKeyConstraint("id", name="pk_cases"),
        sa.UniqueConstraint("dataset", "external_id", name="uq_cases_dataset_external_id"),
    )
    op.create_index("ix_cases_image_sha256", "cases", ["image_sha256"])
    op.create_table(
        "evidence",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("title", sa.String(), nullable=True),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("date", sa.String(), nullable=True),
        sa.Column("text", sa.String(), nullable=True),
        sa.CheckConstraint("kind IN ('image', 'caption')", name="ck_evidence_kind"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_evidence_case_id"),
        sa.PrimaryKeyConstraint("id", name="pk_evidence"),
    )
    op.create_index("ix_evidence_case_id", "evidence", ["case_id"])
    op.create_table(
        "teachers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.CheckConstraint("kind IN ('recorded', 'scripted')", name="ck_teachers_kind"),
        sa.CheckConstraint("name <> ''", name="ck_teachers_name_not_empty"),
        sa.PrimaryKeyConstraint("id", name="pk_teachers"),
        sa.UniqueConstraint("name", name="uq_teachers_name"),
    )
    op.create_table(
        "opinions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("teacher_id", sa.Integer(), nullable=False),
        sa.Column("prompt_version", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("rationale", sa.String(), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint(
            "verdict IN ('in_context', 'out_of_context', 'unsure')", name="ck_opinions_verdict"
        ),
        sa.CheckConstraint("confidence >= 0 AND confidence <= 1", name="ck_opinions_confidence"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_opinions_case_id"),
        sa.ForeignKeyConstraint(["teacher_id"], ["teachers.id"], name="fk_opinions_teacher_id"),
        sa.PrimaryKeyConstraint("id", name="pk_opinions"),
    )
    op.create_index(
        "uq_opinions_current",
        "opinions",
        ["case_id", "teacher_id"],
        unique=True,
        sqlite_where=sa.text("current = 1"),
        postgresql_where=sa.text("current"),
    )


def _rulings() -> None:
    """Create people, what waits for them, and their answers."""
    op.create_table(
        "annotators",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("scripted", sa.Boolean(), nullable=False),
        sa.CheckConstraint("name <> ''", name="ck_annotators_name_not_empty"),
        sa.CheckConstraint("role IN ('annotator', 'adjudicator', 'editor')", name="ck_annotators_role"),
        sa.PrimaryKeyConstraint("id", name="pk_annotators"),
        sa.UniqueConstraint("name", name="uq_annotators_name"),
    )
    op.create_table(
        "queue",
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("why", sa.String(20), nullable=False),
        sa.Column("priority", sa.Double(), nullable=False),
        sa.Column("rulings_wanted", sa.Integer(), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=True),
        sa.Column("leased_at", TIME, nullable=True),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("added_at", TIME, nullable=False),
        sa.CheckConstraint("why IN ('conflict', 'no_verdict')", name="ck_queue_why"),
        sa.CheckConstraint(
            "(annotator_id IS NULL) = (lease_until IS NULL) AND (annotator_id IS NULL) = (leased_at IS NULL)",
            name="ck_queue_lease_whole",
        ),
        sa.CheckConstraint("rulings_wanted >= 1", name="ck_queue_rulings_wanted"),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_queue_annotator_id"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_queue_case_id"),
        sa.PrimaryKeyConstraint("case_id", name="pk_queue"),
    )
    op.create_index("ix_queue_order", "queue", [sa.text("priority DESC"), "case_id"])
    op.create_index("ix_queue_holder", "queue", ["annotator_id", "leased_at"])
    op.create_table(
        "skips",
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=False),
        sa.Column("skipped_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_skips_annotator_id"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_skips_case_id"),
        sa.PrimaryKeyConstraint("case_id", "annotator_id", name="pk_skips"),
    )
    op.create_table(
        "rulings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("submission_id", sa.String(64), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(20), nullable=True),
        sa.Column("opinion_id", sa.Integer(), nullable=True),
        sa.Column("rationale", sa.String(), nullable=True),
        sa.Column("elements", sa.JSON(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("flagged", sa.Boolean(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("rushed", sa.Boolean(), nullable=False),
        sa.Column("supersedes_id", sa.Integer(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint(
            "verdict IN ('in_context', 'out_of_context', 'unsure')", name="ck_rulings_verdict"
        ),
        sa.CheckConstraint("length(submission_id) BETWEEN 1 AND 64", name="ck_rulings_submission_id_length"),
        sa.CheckConstraint("seconds >= 0", name="ck_rulings_seconds"),
        sa.CheckConstraint("verdict IS NOT NULL OR supersedes_id IS NOT NULL", name="ck_rulings_withdrawn"),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_rulings_annotator_id"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_rulings_case_id"),
        sa.ForeignKeyConstraint(["opinion_id"], ["opinions.id"], name="fk_rulings_opinion_id"),
        sa.ForeignKeyConstraint(
            ["supersedes_id", "case_id", "annotator_id"],
            ["rulings.id", "rulings.case_id", "rulings.annotator_id"],
            name="fk_rulings_superseded",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_rulings"),
        sa.UniqueConstraint("case_id", "annotator_id", "id", name="uq_rulings_case_id_annotator_id_id"),
        sa.UniqueConstraint("submission_id", name="uq_rulings_submission_id"),
        sa.UniqueConstraint("supersedes_id", name="uq_rulings_supersedes_id"),
    )
    op.create_index("ix_rulings_annotator", "rulings", ["annotator_id", "id"])
    op.create_index("ix_rulings_time", "rulings", ["annotator_id", "created_at"])
    op.create_index(
        "uq_rulings_first",
        "rulings",
        ["case_id", "annotator_id"],
        unique=True,
        sqlite_where=sa.text("supersedes_id IS NULL"),
        postgresql_where=sa.text("supersedes_id IS NULL"),
    )


def _runs() -> None:
    """Create distillations, what is served, checks and the audit trail."""
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("snapshot_hash", sa.String(), nullable=False),
        sa.Column("rulings", sa.Integer(), nullable=False),
        sa.Column("training_cases", sa.Integer(), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("name <> ''", name="ck_runs_name_not_empty"),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_runs_annotator_id"),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("name", name="uq_runs_name"),
    )
    op.create_table(
        "promotions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("is_rollback", sa.Boolean(), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_promotions_annotator_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_promotions_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_promotions"),
    )
    op.create_table(
        "checks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=False),
        sa.Column("caption", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("rationale", sa.String(), nullable=False),
        sa.Column("student", sa.String(), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("verdict IN ('in_context', 'out_of_context')", name="ck_checks_verdict"),
        sa.CheckConstraint("probability >= 0 AND probability <= 1", name="ck_checks_probability"),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_checks_annotator_id"),
        sa.ForeignKeyConstraint(["image_sha256"], ["images.sha256"], name="fk_checks_image_sha256"),
        sa.PrimaryKeyConstraint("id", name="pk_checks"),
        sa.UniqueConstraint("token", name="uq_checks_token"),
    )
    op.create_index("ix_checks_image_sha256", "checks", ["image_sha256"])
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=True),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.CheckConstraint("action <> ''", name="ck_events_action_not_empty"),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_events_annotator_id"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_events_case_id"),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_at", "events", ["at"])
    op.create_index("ix_events_case_id", "events", ["case_id"])


def _refuse_changes() -> None:
    """Let the database itself refuse an UPDATE or DELETE on the insert-only tables."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    if not sqlite:
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% is insert-only', TG_TABLE_NAME; END $$"
        )
    for table in INSERT_ONLY:
        for change in ("UPDATE", "DELETE"):
            act = (
                f"BEGIN SELECT RAISE(ABORT, '{table} is insert-only'); END"
                if sqlite
                else "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
            )
            op.execute(f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} {act}")
