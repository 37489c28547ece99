"""A request as the page's server functions and the door get one: from this machine, unless told otherwise."""

from dataclasses import dataclass, field


@dataclass
class Client:
    """Where it comes from."""

    host: str = "127.0.0.1"


@dataclass
class Request:
    """What is read of a request."""

    headers: dict[str, str] = field(default_factory=lambda: {"host": "127.0.0.1:7860"})
    client: Client | None = field(default_factory=Client)
