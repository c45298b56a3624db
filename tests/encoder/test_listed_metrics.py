"""`/metrics` of an encoder has what the list of metrics has, and nothing else."""

import aiohttp

from contracts.metrics.definition import Exposer
from contracts.metrics.listing import metrics_of
from tests.encoder.conftest import running_encoder
from tests.support.exposition import check_exposition


async def test_an_encoder_shows_exactly_the_listed_metrics() -> None:
    async with running_encoder() as encoder, aiohttp.ClientSession() as client:
        for path, body in (
            ("/embed", {"inputs": ["a text"], "prompt_name": "query"}),
            ("/v1/embeddings", {"input": ["a text"], "model": "any"}),
            ("/rerank", {"query": "a", "texts": ["b", "c"]}),
            ("/embed", {}),
        ):
            async with client.post(encoder.url + path, json=body) as response:
                await response.read()
        async with client.get(f"{encoder.url}/metrics") as response:
            shown = check_exposition(await response.text(), Exposer.ENCODER)
    assert shown == {each.name for each in metrics_of(Exposer.ENCODER)}
