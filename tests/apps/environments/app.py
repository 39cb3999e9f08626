"""Says what its replica finds around it: an application whose deployments differ in runtime_env."""

import importlib.util
import os
from pathlib import Path
from typing import Any

from meshgen import serve
from meshgen.serve.handle import DeploymentHandle

RUNTIME_ENV = {
    "pip": ["iniconfig==2.0.0"],
    "env_vars": {"GREETING": "¡Hola, $NAME!"},
    "working_dir": "words",
}


@serve.deployment(ray_actor_options={"runtime_env": RUNTIME_ENV})
class Special:
    def around(self) -> dict[str, Any]:
        return look_around()


@serve.deployment
class Plain:
    def __init__(self, special: DeploymentHandle) -> None:
        self.special = special

    async def __call__(self) -> dict[str, Any]:
        return {"special": await self.special.around.remote(), "plain": look_around()}


def look_around() -> dict[str, Any]:
    return {
        "installed": importlib.util.find_spec("iniconfig") is not None,
        "greeting": os.environ.get("GREETING"),
        "file": Path("greeting.txt").read_text() if Path("greeting.txt").exists() else None,
    }


app = Plain.bind(Special.bind())
