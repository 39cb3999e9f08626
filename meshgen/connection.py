"""The handle API for a program outside of a mesh, by a client's certificate."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from pathlib import Path

from meshgen.errors import OptionError
from meshgen.loopthread import LoopThread
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.certificates import CertificateFolder
from meshgen.runtime.meshfile import MeshFile
from meshgen.runtime.network import GrpcNetwork
from meshgen.serve.context import process
from meshgen.settings import Settings

# Set by `meshgen connect` for the program that it runs.
_VARIABLE = "MESHGEN_CONNECT"


def environment(mesh_file: Path, certs: Path, resolver: str) -> dict[str, str]:
    """The variables by which a program finds its mesh.

    Raises:
        OptionError: A file of the certificate's folder is missing.
    """
    missing = [name for name in ("ca", "cert", "key") if not (certs / f"{name}.pem").is_file()]
    if missing:
        raise OptionError(
            f"{certs} has no {missing[0]}.pem: name a folder that meshgen certs issue has written"
        )
    settings = Settings(
        mesh_file=mesh_file.resolve(), resolver=resolver, certs=certs.resolve(), replica_id="client"
    )
    return {**settings.environment(), _VARIABLE: "1"}


def is_asked_for(variables: Mapping[str, str] = os.environ) -> bool:
    """Whether `meshgen connect` runs this program."""
    return bool(variables.get(_VARIABLE))


class Connection:
    """This program's way to a mesh that runs elsewhere. Owns a thread; its methods block."""

    def __init__(self, settings: Settings) -> None:
        assert settings.certs is not None
        certificates = CertificateFolder(settings.certs)
        self._thread = LoopThread("meshgen")
        self.caller = self._thread.run(self._open(settings, certificates))
        process.caller = self.caller
        atexit.register(self.close)

    async def _open(self, settings: Settings, certificates: CertificateFolder) -> MeshCaller:
        network = GrpcNetwork(
            template=settings.resolver, name=f"client {os.getpid()}", certificates=certificates
        )
        return MeshCaller(MeshFile(settings.mesh_file), network)

    def close(self) -> None:
        """Calls that are under way end with an error."""
        atexit.unregister(self.close)
        if process.caller is self.caller:
            process.caller = None
        self._thread.run(self.caller.__aexit__())
        self._thread.stop()
