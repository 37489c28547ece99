"""OOC Desk: open the data folder, build the page, launch.

    python app.py [--data DIR] [--host H] [--name NAME] [--port P] [--mode desk|demo] [--empty]

A data folder that is missing is created with the demo desk in it, or without it with `--empty`. A desk
on which nobody has to sign in listens on this machine only.
"""

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ooc_app.desk import Desk


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; what is not given comes from the environment, then from the defaults."""
    on_spaces = "SPACE_ID" in os.environ
    parser = argparse.ArgumentParser(prog="app.py", description="Open the page of OOC Desk.")
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("OOC_DATA", "data")), help="data folder"
    )
    parser.add_argument(
        "--host", default="0.0.0.0" if on_spaces else "127.0.0.1", help="address to listen on"
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="a name that people reach the desk by, such as desk.newsroom.example; may be given again",
    )
    parser.add_argument("--port", type=int, default=int(os.environ.get("GRADIO_SERVER_PORT", "7860")))
    parser.add_argument("--mode", choices=("desk", "demo"), default="demo" if on_spaces else "desk")
    parser.add_argument(
        "--empty", action="store_true", help="create a missing data folder without the demo desk"
    )
    return parser.parse_args(argv)


def port_is_free(host: str, port: int) -> bool:
    """Tell whether the page could listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def refusal(desk: "Desk", host: str) -> str | None:
    """Say why the page may not listen on a host; None where it may."""
    from ooc_app.auth import is_loopback, signs_in

    if desk.mode == "demo" or is_loopback(host) or signs_in(desk):
        return None
    return (
        f"Nobody has to sign in to this desk, so it does not listen on {host}: add an editor first with "
        f"`python -m ooc_app people add NAME --role editor --data {desk.data_dir}`, or leave out --host."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the page until it is interrupted; returns the exit status."""
    given = arguments(argv)
    taken = (
        f"Port {given.port} on {given.host} is taken: stop what listens there, or give --port another one."
    )
    if not port_is_free(given.host, given.port):
        print(taken, file=sys.stderr)
        return 1
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported, hence here
    from ooc_app import demo
    from ooc_app.checks import report_deeds
    from ooc_app.desk import SettingsError, open_desk
    from ooc_app.keeping import daily
    from ooc_app.page import build_page, launch_options

    try:
        if given.mode == "desk" and not given.empty and not given.data.exists():
            demo.begin(given.data)
        desk = open_desk(given.data, mode=given.mode)
    except (OSError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    if refused := refusal(desk, given.host):
        print(refused, file=sys.stderr)
        desk.close()
        return 1
    if given.mode == "desk":
        daily.start_daily_backups(desk, kept=desk.settings.backups_kept)
        report_deeds.start_expiring(desk)
    if demo.is_unfinished(desk):
        demo.draw_in_background(desk)
    print(f"OOC Desk: http://{given.host}:{given.port}  data in {given.data.resolve()}", flush=True)
    try:
        page = build_page(desk)
        options = launch_options(desk, given.host, given.name)
        page.launch(server_name=given.host, server_port=given.port, **options)
    except OSError as error:
        print(taken if "port" in str(error).lower() else error, file=sys.stderr)
        return 1
    finally:
        desk.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
