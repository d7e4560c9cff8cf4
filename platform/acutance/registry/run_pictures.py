"""Pictures on their way to the tracking store: training hands them over and goes on, whatever the store does."""

from __future__ import annotations

import queue
import tempfile
import threading
from pathlib import Path

from acutance.console import say
from acutance.registry.address import client_of
from acutance.registry.run_files import log_file


class RunPictures:
    """Delivers pictures to a run by a thread; of one name only the newest."""

    def __init__(self, uri: str, run_id: str) -> None:
        self.uri, self.run_id = uri, run_id
        self.waiting: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._deliver, name="pictures", daemon=True)
        self.thread.start()

    def put(self, name: str, content: bytes) -> None:
        """Take the bytes of a picture's file, `name`."""
        self.waiting.put((name, content))

    def close(self, seconds: float | None) -> None:
        """Wait until the newest pictures are delivered, for so many seconds; None waits as long as patience lasts."""
        self.waiting.put(None)
        self.thread.join(seconds)

    def _deliver(self) -> None:
        ended = False
        while not ended:
            newest: dict[str, bytes] = {}
            for item in self._waiting():
                if item is None:
                    ended = True
                else:
                    newest[item[0]] = item[1]
            for name, content in newest.items():
                try:
                    self._log(name, content)
                except Exception as error:  # training goes on all the same; the picture lies beside the model
                    say(f"{name} is not recorded: {str(error).splitlines()[0][:300]}")

    def _waiting(self) -> list[tuple[str, bytes] | None]:
        """Return all that waits by now, at least one."""
        found = [self.waiting.get()]
        while not self.waiting.empty():
            found.append(self.waiting.get())
        return found

    def _log(self, name: str, content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            file.write_bytes(content)
            log_file(client_of(self.uri), self.run_id, file)
