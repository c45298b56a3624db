"""The encoder's Dagster resource with the double of the engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from knowledge.ports import BlockingEncoder
from resources.encoder import EncoderResource
from tests.support.hashing_encoder_engine import HASHING_MODEL, HashingEncoderEngine


class HashingEncoderResource(EncoderResource):
    """Opens a `HashingEncoderEngine`; a `model_dir` stands for one of that name."""

    dimensions: int = HASHING_MODEL.dimensions
    """Of the model of a `model_dir`."""

    @contextmanager
    def open(
        self, *, model_dir: str | None = None, precision: str | None = None
    ) -> Iterator[BlockingEncoder | None]:
        model = HASHING_MODEL
        if model_dir is not None:
            model = replace(model, name=model_dir, dimensions=self.dimensions)
        yield HashingEncoderEngine(model)
