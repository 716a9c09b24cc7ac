"""What all tests of paid teachers share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory) -> Path:
    """Return a file with one certificate authority in place of all that there are."""
    import certifi

    end = "-----END CERTIFICATE-----\n"
    file = tmp_path_factory.mktemp("certificates") / "one.pem"
    file.write_text(Path(certifi.where()).read_text().partition(end)[0] + end)
    return file


@pytest.fixture(autouse=True)
def trust_one_authority(one_authority, monkeypatch) -> None:
    """Let clients read one certificate: reading all, three times a client, took half of the time of these tests."""
    monkeypatch.setenv("SSL_CERT_FILE", str(one_authority))
