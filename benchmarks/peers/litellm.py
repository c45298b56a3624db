"""LiteLLM's proxy: Python, FastAPI on uvicorn."""

from pathlib import Path

import yaml

from benchmarks import fixed_upstream, paced_upstream
from benchmarks.gateway_server import GatewayServer
from benchmarks.peers.installation import install_python_peer

NAME = "LiteLLM"


def litellm_server(folder: Path, port: int, upstream_url: str) -> GatewayServer:
    """Install LiteLLM if need be, write its configuration to `folder`; return how it is run.

    Raises:
        PeerMissing: it cannot be installed.
    """
    programs = install_python_peer("litellm")
    models = [
        {
            "model_name": model,
            "litellm_params": {
                "model": f"openai/{model}",
                "api_base": f"{upstream_url}/v1",
                "api_key": "unused",
            },
        }
        for model in (fixed_upstream.MODEL, paced_upstream.MODEL)
    ]
    configuration = folder / f"litellm-{port}.yaml"
    configuration.write_text(
        yaml.safe_dump(
            {
                "model_list": models,
                # Else it asks the upstream by the Responses API, which the others do not either.
                "litellm_settings": {"use_chat_completions_url_for_anthropic_messages": True},
            }
        )
    )
    return GatewayServer(
        name=NAME,
        base_url=f"http://127.0.0.1:{port}",
        command=(
            *(str(programs / "litellm"), "--config", str(configuration)),
            *("--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"),
        ),
        environment={
            "LITELLM_LOG": "ERROR",
            # It loads prices from the network otherwise, and wants a key for its clients.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        },
        translates_messages=True,
    )
