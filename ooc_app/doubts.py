"""Ask the served student how unsure it is, so that people are asked where it gains the most.

What is queued comes first, the worthiest first; then agreed training cases at random: one the student
cannot tell is queued although its teachers agree.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.engine import write_session
from db.kinds import all_kinds
from db.models import Bucket, Case, Queued
from db.requests import doubted
from db.vocabulary import CaseState, Split, Verdict
from ooc_app.desk import Desk
from ooc_app.intake.images import ImageRefusedError, UnknownImageError, shown_copy
from ooc_app.serving import Serving

AT_ONCE = 50  # cases per transaction: what was asked is kept when the asking is interrupted


def ask_student(
    desk: Desk, serving: Serving, limit: int, progress: Callable[[int], None] = lambda asked: None
) -> tuple[int, int]:
    """Ask about up to `limit` cases; return how many were asked about and how many were queued for it.

    A picture that cannot be shown is passed over. Raises ServingError where there is no student.
    """
    asked = queued = 0
    with desk.sessions() as session:
        chosen = list(islice(_chosen(session), limit))
    for start in range(0, len(chosen), AT_ONCE):
        probabilities = dict(_answers(desk, serving, chosen[start : start + AT_ONCE]))
        if probabilities:
            with write_session(desk.sessions) as session:
                queued += doubted(session, probabilities, datetime.now(UTC))
        asked += len(probabilities)
        progress(asked)
    return asked, queued


def _answers(desk: Desk, serving: Serving, case_ids: list[int]) -> Iterator[tuple[int, float]]:
    """Yield each case's probability of being out of context."""
    columns = (Case.id, Case.image_sha256, Case.caption, Case.date, Case.place)
    with desk.sessions() as session:
        rows = session.execute(sa.select(*columns).where(Case.id.in_(case_ids))).all()
    for case_id, sha256, caption, date, place in rows:
        try:
            picture = shown_copy(str(sha256), desk.images_dir)
        except (ImageRefusedError, UnknownImageError):
            continue
        answer = serving.check(picture, caption, date, place)
        is_out = answer.verdict == Verdict.OUT_OF_CONTEXT
        yield case_id, answer.probability if is_out else 1 - answer.probability


def _chosen(session: Session) -> Iterator[int]:
    queue = (
        sa.select(Queued.case_id).join(Bucket, Bucket.id == Queued.bucket_id).where(Queued.doubt.is_(None))
    )
    yield from session.scalars(queue.order_by(Bucket.worth.desc(), Bucket.id, Queued.case_id))
    agreed = [
        kind_id
        for kind_id, traits, cases in all_kinds(session)
        if cases and traits.state == CaseState.AGREED and traits.split == Split.TRAIN and traits.has_image
    ]
    yield from session.scalars(sa.select(Case.id).where(Case.kind_id.in_(agreed)).order_by(sa.func.random()))
