"""Runs the hello example on a free port and asks it for a greeting over HTTP (`make demo`)."""

import json
import urllib.request

from hello.app import app

from meshgen import serve

QUESTION = {"language": "spanish", "name": "Dora"}


def ask(address: str) -> str:
    """What the application answers."""
    # No proxy stands between this process and its own machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, data=json.dumps(QUESTION).encode(), timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def main() -> None:
    """Start three services and a gateway, ask once, stop them."""
    serve.start({"port": 0})
    try:
        serve.run(app)
        address = serve.status().http_address
        assert address is not None
        print(f"POST {address} {json.dumps(QUESTION)}", flush=True)
        print(ask(address))
    finally:
        serve.shutdown()


if __name__ == "__main__":
    main()
