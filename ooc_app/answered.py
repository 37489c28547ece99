"""Answer what a script of the page asks: a handler behind a role, and what goes wrong as one sentence."""

import logging
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import OperationalError

from db.vocabulary import Role
from ooc_app.auth import Asker, Person, require
from ooc_app.desk import Desk

logger = logging.getLogger(__name__)


def answered(
    desk: Desk,
    asker: Asker,
    role: Role,
    handler: Callable[[Person], dict[str, Any]],
    refusals: tuple[type[Exception], ...],
) -> dict[str, Any]:
    """Let a person of at least that role do something; `refusals` say by themselves what is wrong.

    A database that is locked or full is raised: the script takes it for no answer, and says so.
    """
    try:
        return handler(require(desk, asker, role))
    except refusals as refused:
        return {"ok": False, "says": str(refused)}
    except OperationalError:
        raise
    except OSError as error:
        return {"ok": False, "says": f"{error.filename or 'A file'} cannot be used ({error.strerror})."}
    except Exception:
        logger.exception("A handler of the page failed")
        return {"ok": False, "says": "The desk could not do this; its log says why. Nothing was changed."}
