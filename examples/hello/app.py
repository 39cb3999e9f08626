"""Greets in the language that was asked for: a classifier in front of two responders."""

import json
from typing import TypedDict

from starlette.requests import Request
from starlette.responses import PlainTextResponse

from meshgen import serve
from meshgen.serve.handle import DeploymentHandle

HELP = 'Post JSON such as {"language": "spanish", "name": "Dora"}'


class Greeting(TypedDict):
    text: str
    replica: str


@serve.deployment
class SpanishResponder:
    async def say_hello(self, name: str) -> Greeting:
        return {"text": f"Hola {name}", "replica": serve.get_replica_context().replica_id}


@serve.deployment
class FrenchResponder:
    async def say_hello(self, name: str) -> Greeting:
        return {"text": f"Bonjour {name}", "replica": serve.get_replica_context().replica_id}


@serve.deployment
class LanguageClassifier:
    def __init__(self, spanish: DeploymentHandle, french: DeploymentHandle) -> None:
        self.responders = {"spanish": spanish, "french": french}

    async def __call__(self, request: Request) -> PlainTextResponse:
        try:
            language, name = read_question(await request.body())
            responder = self.find_responder(language)
        except ValueError as problem:
            return PlainTextResponse(f"{problem}\n{HELP}\n", status_code=400)
        greeting: Greeting = await responder.say_hello.remote(name)
        return PlainTextResponse(greeting["text"], headers={"x-replica": greeting["replica"]})

    def find_responder(self, language: str) -> DeploymentHandle:
        try:
            return self.responders[language.strip().lower()]
        except KeyError:
            raise ValueError(f"I speak {' and '.join(self.responders)}, not {language}") from None


def read_question(body: bytes) -> tuple[str, str]:
    """Language and name of a posted question; ValueError says what is wrong with it."""
    try:
        question = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"That is not JSON: {exc}") from None
    if not isinstance(question, dict):
        raise ValueError("That is JSON, but not an object with a language and a name")
    for field in ("language", "name"):
        if not isinstance(question.get(field), str):
            raise ValueError(f"The question needs a {field}, as a string")
        question[field].encode()  # JSON can hold half a character, which no answer can
    return question["language"], question["name"]


app = LanguageClassifier.bind(SpanishResponder.bind(), FrenchResponder.bind())
