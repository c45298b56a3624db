"""A model server that costs nothing: nginx with one completion, always the same."""

from pathlib import Path

import msgspec

from benchmarks.load_tools import LoadTools
from sluice.servers.probes import http_probe
from sluice.servers.spec import ProcessSpec

MODEL = "fixed-model"

_ANSWER = (
    "JetStream keeps a message until every consumer has acknowledged it or the stream's"
    " limits remove it. A durable pull consumer therefore survives a restart of the client"
    " and goes on where it stopped, and a message that was not acknowledged within the ack"
    " wait is delivered again."
)
_COMPLETION = {
    "id": "chatcmpl-7f3a9c2e51b04d6f",
    "object": "chat.completion",
    "created": 1767225600,
    "model": MODEL,
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": _ANSWER},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 112, "completion_tokens": 58, "total_tokens": 170},
}
_CONFIGURATION = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/bodies;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000;
  server {{
    listen 127.0.0.1:{port};
    default_type application/json;
    location / {{ return 200 '{completion}'; }}
  }}
}}
"""


def fixed_upstream_process(tools: LoadTools, folder: Path, port: int) -> ProcessSpec:
    """Write nginx's configuration to `folder` and return how it is run."""
    folder.mkdir(parents=True)
    completion = msgspec.json.encode(_COMPLETION).decode().replace("'", "\\'")
    file = folder / "nginx.conf"
    file.write_text(_CONFIGURATION.format(folder=folder, port=port, completion=completion))
    return ProcessSpec(
        name="fixed upstream",
        command=(str(tools.nginx), "-e", "stderr", "-p", str(folder), "-c", str(file)),
        probe=http_probe(f"http://127.0.0.1:{port}/"),
    )
