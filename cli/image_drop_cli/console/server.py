"""The console on 127.0.0.1, served by a thread of this process."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer
import uvicorn

from image_drop_cli.console.access import Access
from image_drop_cli.console.application import application
from image_drop_cli.console.drops import Drops
from image_drop_cli.console.gallery import Gallery
from image_drop_cli.console.live import Live
from image_drop_cli.console.marks import Marks
from image_drop_cli.console.offers import Offers
from image_drop_cli.console.thumbnails import Thumbnails
from image_drop_cli.console.workspace import Workspace

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

HOST = "127.0.0.1"
PORT = 4580
TOKEN, MARKS = "console-token", "console.sqlite"  # in the folder of settings
GRACE = 2  # seconds that answers may still take at the end


class ConsoleServer:
    """The console of a stack; a context manager.

    `port` 0 takes a free one; without a port, the usual one is taken if it is free. `data`: the
    folder for the token and for what was decided, by default that of the person's settings.
    The token stays the same, so that a page that is open goes on when the console is started again.
    """

    address: str

    def __init__(
        self, deployment: "Deployment", *, port: int | None = None, data: Path | None = None
    ) -> None:
        self._deployment = deployment
        self._port = port
        self._data = data or Path(typer.get_app_dir("image-drop"))
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        """Serve. Raise `OSError` if the port is taken."""
        with ExitStack() as starting:
            listener = starting.enter_context(closing(_listener(self._port)))
            port: int = listener.getsockname()[1]
            access = Access(_token(self._data / TOKEN), port)
            workspace = starting.enter_context(workspace_for(self._deployment, self._data))
            starting.enter_context(_Serving(workspace, access, listener))
            self.address = access.address
            self._cleanup = starting.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cleanup.close()


@contextmanager
def workspace_for(deployment: "Deployment", data: Path) -> Iterator[Workspace]:
    """Yield the workspace of a run, which nobody watches yet; `data` as for `ConsoleServer`.

    What it keeps for the time of the run is deleted at the end.
    """
    with (
        TemporaryDirectory(prefix="image-drop-") as folder,
        closing(Marks(data / MARKS, _name_of(deployment))) as marks,
    ):
        gallery = Gallery()
        gallery.mark(marks.all())
        drops = Drops(Path(folder) / "drops")
        yield Workspace(
            deployment=deployment,
            gallery=gallery,
            marks=marks,
            live=Live(deployment, gallery),
            offers=Offers(),
            drops=drops,
            thumbnails=Thumbnails(Path(folder) / "thumbnails"),
        )
        drops.close()


class _Serving:
    """The web server in its thread."""

    def __init__(self, workspace: Workspace, access: Access, listener: socket.socket) -> None:
        self._live, self._listener = workspace.live, listener
        self._server = uvicorn.Server(
            uvicorn.Config(
                application(workspace, access),
                access_log=False,
                log_level="error",
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=GRACE,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="console-server", daemon=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.close()  # ends what is told to the windows, which would be waited for
        self._server.should_exit = True
        self._thread.join()


def _listener(port: int | None) -> socket.socket:
    if port is not None:
        return socket.create_server((HOST, port))
    try:
        return socket.create_server((HOST, PORT))
    except OSError:
        return socket.create_server((HOST, 0))


def _token(path: Path) -> str:
    """Return the token of this person's consoles; only they can read its file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+") as file:
            if known := file.read().strip():
                return known
            token = token_urlsafe(32)
            file.write(token)
            return token
    except OSError:
        return token_urlsafe(32)  # of this run only


def _name_of(deployment: "Deployment") -> str:
    """Return what tells a stack from all others, also from one of the same name later."""
    place = "local" if deployment.is_local else deployment.aws.region
    return f"{place} {deployment.input_bucket} {deployment.outputs['OutputBucketName']}"
