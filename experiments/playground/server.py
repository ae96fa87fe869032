"""Serve the page on which a run is tried, to this machine alone."""

import importlib
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.update(
    GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_OFFLINE="1"
)
import gradio
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse

from experiments.common.trained_run import open_run

# What a browser may load: nothing from elsewhere. Gradio's page consists of scripts and
# styles inside it, and of functions that it makes of text.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'self'"
)
MOST_BYTES = 100_000  # of a request: `MOST_CHARACTERS` in JSON, and what goes with them
MOST_SECONDS = 30  # that one step of an answer takes
# Gradio's own themes load fonts from elsewhere.
FONT = ["system-ui", "sans-serif"]
THEME = gradio.themes.Default(
    primary_hue="blue", neutral_hue="slate", font=FONT, font_mono=["monospace"]
).set(body_background_fill_dark="#14171a")  # that of the reports


def serve(
    paths: Sequence[str | Path], experiment: str, port: int | None, share: bool
) -> None:
    """Serve the page of one run or two until Ctrl-C.

    Raises:
        ValueError: A run cannot be read.
        OSError: The port is not free.
    """
    app = start([open_run(path, experiment) for path in paths], port, share)
    try:
        print(f"The page is at {app.share_url or app.local_url} (Ctrl-C ends it)")
        threading.Event().wait()
    except KeyboardInterrupt:
        close(app)


def start(runs: Sequence, port: int | None = None, share: bool = False) -> Any:
    """Return the app of one run or two of one experiment, which serves its page."""
    experiment = runs[0].config["experiment"]
    page = importlib.import_module(f"experiments.playground.{experiment}")
    # Gradio asks its own address whether it answers, which must not go by a proxy.
    others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    direct = ",".join(filter(None, [others, "127.0.0.1", "localhost"]))
    os.environ.update(no_proxy=direct, NO_PROXY=direct)
    with gradio.Blocks(title=page.TITLE, analytics_enabled=False) as app:
        page.build(runs)
    # One user at a time has the models; the others wait in a queue.
    app.queue(max_size=100, default_concurrency_limit=1, api_open=False)
    # A page from elsewhere whose name leads to this machine is refused.
    hosts = ["*"] if share else ["127.0.0.1", "localhost"]
    app.launch(
        prevent_thread_lock=True,
        server_name="127.0.0.1",
        server_port=port,
        share=share,
        quiet=True,
        inline=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        run_history=False,
        enable_monitoring=False,
        footer_links=[],
        app_kwargs={
            "middleware": [
                Middleware(TrustedHostMiddleware, allowed_hosts=hosts),
                Middleware(_Guard),
            ]
        },
        theme=THEME,
        css_paths=Path(__file__).with_name("page.css"),
        head=page.HEAD,
    )
    return app


def close(*apps: Any) -> None:
    """End all servers of this process, once what they compute now is done.

    Python would end a thread inside of TensorFlow by a crash.
    """
    for app in apps:
        app.close(verbose=False)
    end = time.monotonic() + MOST_SECONDS
    for thread in threading.enumerate():
        if thread.name.startswith("AnyIO"):
            thread.join(max(0, end - time.monotonic()))


class _Guard:
    """Refuses files and large requests unread, and adds `POLICY` to every answer."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY
            await send(message)

        await (_refusal(scope) or self.app)(scope, receive, send_with_policy)


def _refusal(scope: Any) -> JSONResponse | None:
    """Return the answer to a request that is refused before its body is read."""
    if scope["type"] != "http":
        return None
    headers = Headers(scope=scope)
    if scope["path"].rstrip("/").endswith("/upload"):
        return JSONResponse({"detail": "expected a text; received a file"}, 403)
    size = int(headers.get("content-length", 0))
    if size > MOST_BYTES or "transfer-encoding" in headers:
        detail = f"expected at most {MOST_BYTES:,} bytes; received more"
        return JSONResponse({"detail": detail}, 413)
    return None
