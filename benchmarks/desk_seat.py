"""Someone at the desk's page, as a process that sends what the page sends.

The page calls one server function, which saves the ruling and answers with the next cases. What it
asks for without waiting, the figures at its head and the pictures to come, is left out, as it is for
other tools.
"""

from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from benchmarks.clients import Loop, LoopFailedError, NothingLeftError, browser, checked, looping

PASSWORD: Final = "a password for benchmarks"


@dataclass(frozen=True)
class DeskSeat:
    """A person at the page."""

    url: str
    number: int

    def sit(self) -> Loop:
        """Sign in, open the page, and fetch the first cases."""
        client = browser(self.url)
        checked("sign-in", client.post("/login", data={"username": name(self.number), "password": PASSWORD}))
        components = checked("page", client.get("/config")).json()["components"]
        [tab] = [one["id"] for one in components if one["props"].get("elem_id") == "adjudicate"]
        session_hash = uuid4().hex
        held: list[int] = []
        answered_with: list[dict[str, Any]] = []

        def call(function: str, **said: Any) -> None:
            asked = {"session_hash": session_hash, "component_id": tab, "fn_name": function}
            sent = {**asked, "data": {**said, "held": held}}
            answer = checked(function, client.post("/gradio_api/component_server", json=sent)).json()
            held[:] = [case["id"] for case in answer.get("cases", ())]
            if not answer["ok"]:
                raise LoopFailedError(f"{function}: {answer['says']}")
            answered_with.append(answer)

        def fetch() -> str:
            if not answered_with:
                call("look_")
            answered_with.clear()
            if not held:
                raise NothingLeftError
            return str(held[0])

        def answer(case_id: str) -> None:
            ruling = {"case_id": int(case_id), "verdict": "in_context", "seconds": 4.0}
            call("rule_", submission_id=uuid4().hex, elements=[], note="", flagged=False, **ruling)

        return looping(fetch, answer)


def name(number: int) -> str:
    """The name of a person."""
    return f"person {number}"
