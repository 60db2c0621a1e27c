"""A page in the user's browser: boxes are drawn with the mouse, and tracking is watched.

OpenCV's own windows need a build that excludes the headless one; a browser is there."""

import json
import os
import secrets
import sys
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from queue import Queue
from threading import Thread

import numpy as np

from esiamfc_lib.data import images
from esiamfc_lib.errors import StudyError
from esiamfc_lib.tracking.base import checked_box
from esiamfc_lib.tracking.film import COLOURS

MOST = 1 << 20  # bytes that boxes have


def has_display() -> bool:
    """Whether a window can be seen on this machine."""
    names = "DISPLAY", "WAYLAND_DISPLAY"
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, names))


class Page(ThreadingHTTPServer):
    """A server of one page, on this machine's loopback address, under a path that nobody can guess;
    ended by ``with``.

    Attributes:
        image: uint8 (H, W, 3) RGB, what it shows now.
        live: whether it shows the pictures of tracking after the boxes are drawn.
        boxes: gets the list of boxes (4,), 0-based, that the user has drawn.
        stopped: whether the user has pressed Stop."""

    daemon_threads = True

    def __init__(self, image: np.ndarray, live: bool = False):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.image, self.live, self.boxes, self.stopped = image, live, Queue(), False
        self.path = f"/{secrets.token_urlsafe(16)}/"
        Thread(target=self.serve_forever, args=[0.1], daemon=True).start()

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()

    def open(self, watch: bool = False) -> None:
        """Show the page if there is a display, and say where it is."""
        address = f"http://127.0.0.1:{self.server_port}{self.path}" + "#watch" * watch
        sys.stderr.write(f"page in the browser: {address}\n")
        if has_display():
            webbrowser.open(address)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page, path = self.server, self.path.partition("?")[0]
        if path == page.path:
            html = resources.files(__package__).joinpath("page.html").read_text("utf-8")
            html = html.replace("/* colours */", json.dumps(COLOURS))
            self._reply(200, html.encode(), "text/html; charset=utf-8")
        elif path == page.path + "frame":
            self._reply(200, images.encode_jpeg(page.image, 90), "image/jpeg")
        else:
            self._reply(404)

    def do_POST(self) -> None:
        page = self.server
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), MOST))
        if self.path == page.path + "stop":
            page.stopped = True
            self._reply(200)
        elif self.path == page.path + "boxes":
            try:
                boxes = [checked_box(box, page.image) for box in json.loads(body)]
            except (StudyError, ValueError, TypeError) as error:
                return self._reply(400, str(error).encode())
            self._reply(200, b"watch" if page.live else b"Tracking: this page can be closed.")
            page.boxes.put(boxes)
        else:
            self._reply(404)

    def _reply(self, status: int, body: bytes = b"", kind: str = "text/plain; charset=utf-8"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *given: object) -> None:
        """Nothing."""
