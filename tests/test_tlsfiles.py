"""The user's certificate and key: both, readable, and of one another."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshgen.errors import OptionError
from meshgen.tlsfiles import TlsFiles, tls_files
from tests.tlscerts import for_localhost


def test_a_pair_that_fits_is_fine(tmp_path: Path) -> None:
    """And so is none at all."""
    made = for_localhost(tmp_path / "a")
    found = tls_files(made.cert, made.key)
    assert found == TlsFiles(cert=made.cert, key=made.key)
    found.check()
    assert tls_files(None, None) is None


@pytest.mark.parametrize("missing", ["certificate", "private key"])
def test_half_a_pair_is_refused(missing: str) -> None:
    """The other half is named."""
    path = Path("given.pem")
    with pytest.raises(OptionError, match=f"the {missing} .* is missing"):
        tls_files(*((None, path) if missing == "certificate" else (path, None)))


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    """Before anybody connects."""
    ours, theirs = for_localhost(tmp_path / "a"), for_localhost(tmp_path / "b")
    with pytest.raises(OptionError, match="the key does not belong to the certificate"):
        TlsFiles(cert=ours.cert, key=theirs.key).check()


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    """A missing one by its name, and one that holds something else."""
    made = for_localhost(tmp_path / "a")
    with pytest.raises(OptionError, match="nowhere cannot be read: No such file"):
        TlsFiles(cert=made.cert, key=tmp_path / "nowhere").check()
    (tmp_path / "text").write_text("hello")
    with pytest.raises(OptionError, match="cannot be served with: .*; give a certificate and its"):
        TlsFiles(cert=tmp_path / "text", key=made.key).check()
