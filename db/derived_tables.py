"""The tables that are derived from the facts in `models.py`: kinds of cases, and the queue.

`derived.py` keeps them, checks them and can make them anew.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, one_of
from db.vocabulary import HumanAnswer, QueueReason, Split


class Kind(Base):
    """The cases that are alike in all that statistics and filters ask, and how many they are.

    Derived from cases, opinions and rulings (`db/kinds.py`), and kept up in the transaction that
    changes those, so that no figure is ever taken by reading a million cases.
    """

    __tablename__ = "kinds"
    __table_args__ = (
        sa.UniqueConstraint(
            "pattern",
            "split",
            "has_image",
            "gold",
            "human",
            "rulings",
            "own_rationales",
            name="uq_kinds_whole",
        ),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    split: Mapped[Split]
    has_image: Mapped[bool]
    gold: Mapped[str] = mapped_column(sa.String(20))  # a verdict, or empty
    pattern: Mapped[str]  # who says what: "1i2o3u" = teacher 1 in context, 2 out of context, 3 unsure
    human: Mapped[HumanAnswer]
    rulings: Mapped[int]  # current ones
    own_rationales: Mapped[int]  # current rulings whose annotator wrote or edited the rationale
    cases: Mapped[int]  # how many cases are of this kind


class Stratum(Base):
    """How many cases come from one source, or have one element named in an opinion."""

    __tablename__ = "strata"

    what: Mapped[str] = mapped_column(sa.String(20), primary_key=True)  # "source" or "element"
    name: Mapped[str] = mapped_column(primary_key=True)
    cases: Mapped[int]


class Bucket(Base):
    """Queued cases of equal worth. A change of the order changes these few rows, never the queue's."""

    __tablename__ = "buckets"
    __table_args__ = (
        one_of("why", QueueReason),
        sa.UniqueConstraint("why", "closeness", "doubt", "rarity", "ruled_by", name="uq_buckets_whole"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    why: Mapped[QueueReason]
    closeness: Mapped[int]  # 0 to 10: how evenly the teachers' verdicts are split
    doubt: Mapped[int]  # 0 to 10: how unsure the student is; 0 also where it was not asked
    rarity: Mapped[int]  # 0 to 3: of the source or element that fewest cases share
    ruled_by: Mapped[int]  # the annotator who ruled on these last and is not offered them again; 0 nobody
    worth: Mapped[float]  # by the queue rule; the highest comes first


class Queued(Base):
    """One case that wants a person; the row goes when it has the rulings it wants."""

    __tablename__ = "queue"
    __table_args__ = (
        sa.CheckConstraint("rulings_wanted >= 0", name="rulings_wanted"),
        sa.CheckConstraint("doubt >= 0 AND doubt <= 1", name="doubt"),
        sa.CheckConstraint(
            "(annotator_id IS NULL) = (lease_until IS NULL) AND (annotator_id IS NULL) = (leased_at IS NULL)",
            name="lease_whole",
        ),
        sa.Index("ix_queue_order", "bucket_id", "case_id"),
        sa.Index("ix_queue_holder", "annotator_id", "leased_at"),
    )

    case_id: Mapped[int] = mapped_column(sa.ForeignKey("cases.id"), primary_key=True)
    bucket_id: Mapped[int] = mapped_column(sa.ForeignKey("buckets.id"))
    rulings_wanted: Mapped[int]  # 0: wants nobody any more, and stays until its reader is done
    doubt: Mapped[float | None]  # the student's: 1 where its probability is 0.5, 0 where it is sure
    annotator_id: Mapped[int | None] = mapped_column(sa.ForeignKey("annotators.id"))  # the lease holder
    leased_at: Mapped[datetime | None]  # orders what one annotator holds: on screen first, then preloaded
    lease_until: Mapped[datetime | None]
    added_at: Mapped[datetime]
