"""A small model server on the loopback: an agent's turn without a model.

It answers a user's message `please write NAME: TEXT` first with a call of the agent's `write` tool
and, once that tool has answered, with a final text; `please say WORD` with that word; any other
message with a text. Formats, both streamed as OpenClaw asks for them: OpenAI's chat completions
(/v1/chat/completions, server-sent events) and Ollama's own (/api/chat, a JSON object a line).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "fake-1"

WRITE = re.compile(r"please write (?P<name>[\w.-]+): (?P<text>[^\n]*)")

SAY = re.compile(r"please say (?P<word>[\w-]+)")

DONE = "I have written the file."
PLAIN = "There was nothing to do."

CONTEXT = "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>"
"""How a message in the user's name begins that OpenClaw adds to what the user said."""


class ModelServer:
    """Listens for the length of a `with` block; `requests` are the bodies that came, in order."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[dict[str, Any]] = []
        self.authorizations: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append(body)
                server.authorizations.append(self.headers.get("Authorization", ""))
                if self.path not in STREAMS:
                    self.send_error(404)
                    return
                kind, lines = STREAMS[self.path]
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                for line in lines(body):
                    self.wfile.write(line.encode())

            def log_message(self, *_: object) -> None:
                pass  # a test's output is for the test

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self._http.server_address[1])

    @property
    def base_url(self) -> str:
        """As a user of this host would write it."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> ModelServer:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()


def openai_lines(body: Mapping[str, Any]) -> Iterator[str]:
    """The server-sent events that answer a request for a chat completion."""
    text, arguments = answer(body["messages"])
    delta: dict[str, Any] = {"content": text}
    if arguments:
        function = {"name": "write", "arguments": json.dumps(arguments)}
        call = {"index": 0, "id": f"call_{len(body['messages'])}", "type": "function"}
        delta = {"tool_calls": [{**call, "function": function}]}
    reason = "tool_calls" if arguments else "stop"
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    for choice in (
        {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": reason},
    ):
        yield f"data: {json.dumps({**base, 'choices': [choice]})}\n\n"
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    yield f"data: {json.dumps({**base, 'choices': [], 'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"


def ollama_lines(body: Mapping[str, Any]) -> Iterator[str]:
    """The objects that answer a request for Ollama's chat."""
    text, arguments = answer(body["messages"])
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if arguments:
        message["tool_calls"] = [{"function": {"name": "write", "arguments": arguments}}]
    base = {"model": MODEL, "created_at": "2026-01-31T12:00:00Z"}
    yield json.dumps({**base, "message": message, "done": False}) + "\n"
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": 10, "eval_count": 5}
    yield json.dumps({**base, "message": {"role": "assistant", "content": ""}, **end}) + "\n"


STREAMS = {
    "/v1/chat/completions": ("text/event-stream", openai_lines),
    "/api/chat": ("application/x-ndjson", ollama_lines),
}
"""Path -> the type of its answer, and what makes its lines."""


def answer(messages: Sequence[Mapping[str, Any]]) -> tuple[str, dict[str, str]]:
    """(text, the `write` tool's arguments) that a model would go on with; one of them is empty."""
    last = [item for item in messages if not text_of(item).lstrip().startswith(CONTEXT)][-1]
    if last["role"] == "tool":
        return DONE, {}
    wanted = WRITE.search(text_of(last))
    if wanted is None:
        asked = SAY.search(text_of(last))
        return (said(asked["word"]) if asked else PLAIN), {}
    return "", {"path": wanted["name"], "content": wanted["text"] + "\n"}


def said(word: str) -> str:
    """The reply to `please say WORD`; no part of that message, so that a reader can tell them."""
    return f"The word is {word}."


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message, whose content is a string, a list of parts, or nothing."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")
