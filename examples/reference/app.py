"""Scores a text by value, or by reference: then the model gets ready while the text is prepared."""

import asyncio
import time
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse

from meshgen import ObjectRef, serve
from meshgen.serve.handle import DeploymentHandle


@dataclass
class Features:
    words: list[str]
    ready_at: float


@dataclass
class Score:
    words: int
    began_early: bool


@serve.deployment
class Preprocessor:
    async def prepare(self, text: str) -> Features:
        await asyncio.sleep(0.2)  # stands for work that takes a while
        return Features(words=text.lower().split(), ready_at=time.time())


@serve.deployment
class Model:
    async def pass_by_value(self, features: Features) -> Score:
        """Begins when the features are there."""
        began_at = time.time()
        weight = await self.read_weight()
        return self.score(features, weight, began_at)

    async def pass_by_reference(self, request: dict[str, ObjectRef[Features]]) -> Score:
        """Begins at once, and waits where it needs the features."""
        began_at = time.time()
        weight = await self.read_weight()
        features = await request["features"]
        return self.score(features, weight, began_at)

    async def read_weight(self) -> int:
        await asyncio.sleep(0.1)  # stands for a file far away
        return 1

    def score(self, features: Features, weight: int, began_at: float) -> Score:
        return Score(weight * len(features.words), began_at < features.ready_at)


@serve.deployment
class Ingress:
    def __init__(self, preprocessor: DeploymentHandle, model: DeploymentHandle) -> None:
        self.preprocessor = preprocessor
        self.model = model

    async def __call__(self, request: Request) -> PlainTextResponse:
        text, way = request.query_params.get("text", ""), request.query_params.get("pass", "value")
        if not text or way not in ("value", "reference"):
            return PlainTextResponse("Ask as /?text=some+words&pass=reference\n", status_code=400)
        score = await self.score(text, by_reference=way == "reference")
        began = "before" if score.began_early else "after"
        return PlainTextResponse(f"{score.words} words; the model began {began} they were ready\n")

    async def score(self, text: str, by_reference: bool) -> Score:
        features = self.preprocessor.prepare.remote(text)
        if by_reference:
            # Inside of something else, a response stays a reference.
            by_ref: Score = await self.model.pass_by_reference.remote({"features": features})
            return by_ref
        by_value: Score = await self.model.pass_by_value.remote(features)
        return by_value


app = Ingress.bind(Preprocessor.bind(), Model.bind())
