"""Fingerprints of code that were computed before, kept on disk: every run, and every job of it, asks for all of them.

Computing them takes longer than all else that the rules do. They are stored under all that they depend on: the name of
the file has a hash of the whole library, the key has names, patterns and versions. So an edit never finds an old one.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from doubledraft.provenance import library_version
from doubledraft.workflow import fingerprint

_version = cache(library_version)
FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "doubledraft"
LIBRARIES = 100  # versions of the library (each edit makes one) whose fingerprints are kept, the latest


class KeptFingerprints:
    """The fingerprints of the library as it is now."""

    def __init__(self) -> None:
        """Read what is kept of them."""
        self._file = FOLDER / f"fingerprints-{_library()}.json"
        self._kept: dict[str, str] = {}
        with suppress(OSError, ValueError):  # none is kept yet, or a power failure left half of it
            self._kept = json.loads(self._file.read_text())
        self._new = False

    def of(self, *names: str, files: Iterable[str] = (), packages: Iterable[str] = (), compiled: bool = True) -> str:
        """Return what `fingerprint.of` returns, computed only where it is not kept."""
        versions = {package: _version(package) for package in packages}
        key = json.dumps([names, sorted(files), sorted(versions.items()), compiled])
        if key not in self._kept:
            self._kept[key] = fingerprint.of(*names, files=files, packages=packages, compiled=compiled)
            self._new = True
        return self._kept[key]

    def keep(self) -> None:
        """Write what is new; where that cannot be written, it is computed again the next time."""
        if not self._new:
            return
        partial = self._file.with_name(f".{self._file.name}.{os.getpid()}")  # several runs may start at a time
        with suppress(OSError):
            FOLDER.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(self._kept))
            os.replace(partial, self._file)
            for old in sorted(FOLDER.glob("fingerprints-*.json"), key=os.path.getmtime)[:-LIBRARIES]:
                old.unlink(missing_ok=True)


def _library() -> str:
    """Return a hash of all files of the library, names and contents."""
    digest = hashlib.sha256()
    for path in sorted(fingerprint.PACKAGE.rglob("*")):
        if path.is_file() and path.parent.name != "__pycache__":
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(fingerprint.PACKAGE)} {content}\n".encode())
    return digest.hexdigest()[:16]
