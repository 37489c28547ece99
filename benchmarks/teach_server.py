"""A teacher's server that takes a set time for an answer, and answers so many at once; the rest wait.

python benchmarks/teach_server.py PORT SECONDS AT_ONCE
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SAID = {
    "in_context": "The square with the clock tower and wet stones are in the picture, as the caption says.",
    "out_of_context": "The caption speaks of Norvik; the tower in the picture stands in Halden.",
}


class Server(ThreadingHTTPServer):
    """Counts its answers, so that they differ, and holds back what is more than it takes at once."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int, seconds: float, at_once: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.seconds = seconds
        self.places = threading.Semaphore(at_once)
        self.counted = threading.Lock()
        self.answered = 0

    def next_answer(self) -> str:
        """Answer one in three out of context, as no other answer reads."""
        with self.counted:
            self.answered += 1
            number = self.answered
        verdict = "in_context" if number % 3 else "out_of_context"
        said = {"rationale": f"{SAID[verdict]} ({number})", "elements": [], "verdict": verdict}
        return json.dumps({**said, "confidence": 0.8})


class Handler(BaseHTTPRequestHandler):
    """Speaks as OpenAI's chat completions do."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        """Say that it is there."""
        self._send({"object": "list", "data": [{"id": "steady"}]})

    def do_POST(self) -> None:
        """Answer a question when its time is up."""
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.places:
            time.sleep(self.server.seconds)
        choice = {"index": 0, "finish_reason": "stop"}
        message = {"role": "assistant", "content": self.server.next_answer()}
        usage = {"prompt_tokens": 1_000, "completion_tokens": 60, "total_tokens": 1_060}
        made = {"id": "1", "object": "chat.completion", "created": 0, "model": "steady"}
        self._send({**made, "choices": [{**choice, "message": message}], "usage": usage})

    def _send(self, said: dict[str, object]) -> None:
        data = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    with Server(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])) as running:
        running.serve_forever()
