"""What asking teachers needs: their kinds, whether they count, what they answered word for word, and runs.

Opinions made before were recorded or scripted: no model is known that gave them, and every teacher counts.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
BEFORE = "kind IN ('recorded', 'scripted')"
AFTER = "kind IN ('recorded', 'scripted', 'endpoint', 'local')"


def upgrade() -> None:
    """Widen the check, add the columns, then the tables."""
    if op.get_bind().dialect.name == "sqlite":
        _widen_on_sqlite()
    else:
        op.drop_constraint("ck_teachers_kind", "teachers", type_="check")
        op.create_check_constraint("ck_teachers_kind", "teachers", AFTER)
    op.add_column("teachers", sa.Column("active", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("opinions", sa.Column("model", sa.String(), nullable=True))
    op.create_index(
        "ix_opinions_asked",
        "opinions",
        ["teacher_id", "prompt_version", "model", "case_id"],
        sqlite_where=sa.text("current = 1 AND model IS NOT NULL"),
        postgresql_where=sa.text("current AND model IS NOT NULL"),
    )
    _tables()


def _widen_on_sqlite() -> None:
    """Rewrite the check where SQLite keeps it, in the transaction of the migration.

    SQLite cannot change a check, and a new table in place of one that others refer to wants foreign keys
    switched off, which no transaction may do. A check that lets more pass than before leaves the rows as
    they are, so its text may be replaced: https://www.sqlite.org/lang_altertable.html, section 7. The new
    schema version has every connection read the schema again, this one too.
    """
    connection = op.get_bind()
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    try:
        changed = connection.exec_driver_sql(
            "UPDATE sqlite_schema SET sql = replace(sql, ?, ?)"
            " WHERE type = 'table' AND name = 'teachers' AND instr(sql, ?) > 0",
            (BEFORE, AFTER, BEFORE),
        ).rowcount
        connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    finally:
        connection.exec_driver_sql("PRAGMA writable_schema = OFF")
    wrong = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
    if changed != 1 or wrong != "ok":
        raise RuntimeError(f"The table of teachers could not be brought up to date ({changed}, {wrong}).")


def _tables() -> None:
    op.create_table(
        "teacher_answers",
        sa.Column("opinion_id", sa.Integer(), nullable=False),
        sa.Column("raw", sa.String(), nullable=False),
        sa.Column("parsed", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.String(), nullable=False),
        sa.Column("tokens_in", sa.Integer(), nullable=True),
        sa.Column("tokens_out", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("cost", sa.Double(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["opinion_id"], ["opinions.id"], name="fk_teacher_answers_opinion_id"),
        sa.PrimaryKeyConstraint("opinion_id", name="pk_teacher_answers"),
    )
    op.create_table(
        "teach_runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("teacher_id", sa.Integer(), nullable=False),
        sa.Column("prompt_version", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("why", sa.String(), nullable=True),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("kept", sa.Integer(), nullable=False),
        sa.Column("tokens_in", sa.BigInteger(), nullable=False),
        sa.Column("tokens_out", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.Double(), nullable=False),
        sa.CheckConstraint("(ended_at IS NULL) = (why IS NULL)", name="ck_teach_runs_why_ended"),
        sa.ForeignKeyConstraint(["teacher_id"], ["teachers.id"], name="fk_teach_runs_teacher_id"),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_teach_runs_annotator_id"),
        sa.PrimaryKeyConstraint("id", name="pk_teach_runs"),
    )
    op.create_index("ix_teach_runs_teacher", "teach_runs", ["teacher_id", "id"])
