"""Reads thousands of mutated files with every reader of the project: python tests/soak/mutate.py.

Each file is to be read, or refused in one line.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random

from harness import main
from mutations import mutated
from readers import READERS, Reader

CASES = 6400  # over all readers


@dataclass(frozen=True)
class Mutations:
    """Random changes to the samples of a reader."""

    name: str
    reader: Reader
    cases: int

    def prepare(self, folder: Path) -> None:
        """Write the samples."""
        (folder / "files").mkdir()
        self.reader.samples(folder / "files")

    def attempt(self, number: int, random: Random, prepared: Path, folder: Path) -> str:
        """Read a mutated sample; the samples as they are for number -1."""
        from reid_dhm.errors import ReidError

        files = sorted((prepared / "files").iterdir())
        facts = {"samples": str(prepared), "sound": number < 0}
        (folder / "case.json").write_text(json.dumps(facts))
        if number < 0:
            for sound in files:
                self.reader.read(Path(shutil.copyfile(sound, folder / sound.name)))
            return "accepted"
        sound = random.choice(files)
        path = folder / sound.name
        other = random.choice(files).read_bytes()
        path.write_bytes(mutated(sound.read_bytes(), other, self.reader.is_text, random))
        try:
            self.reader.read(path)
        except (ReidError, OSError) as error:
            if isinstance(error, ReidError) and len(str(error)) > 5000:
                raise RuntimeError(f"{len(str(error))} characters: {error!s:.200}") from error
            return "refused"
        return "accepted"


_SHARES = sum(reader.share for reader in READERS.values())
SUBJECTS = {
    name: Mutations(name, reader, round(CASES * reader.share / _SHARES))
    for name, reader in READERS.items()
}

if __name__ == "__main__":
    sys.exit(main(__file__))
