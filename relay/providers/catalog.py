"""All providers that this relay knows: those it comes with, and those of the operator's own folder."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from relay.domain.errors import BadDefinition
from relay.providers.definition import Definition
from relay.providers.parse import parse_definition
from relay.providers.samples import Sample, check_samples, parse_samples

OWN_FOLDER = Path(__file__).parent / "definitions"
FILE_BYTES_MAX = 1_048_576
ALL = "provider definitions"


class Catalog:
    """Definitions by name, in the order of their names."""

    def __init__(self, definitions: Mapping[str, Definition], files: Mapping[str, Path]) -> None:
        self._definitions = dict(sorted(definitions.items()))
        self._files = dict(files)

    @classmethod
    def load(cls, extra_folder: Path | None = None) -> "Catalog":
        """
        The relay's own definitions and those of `extra_folder` (`*.toml`).

        Raises BadDefinition with the faults of all files together; a name may be defined once only.
        """
        definitions: dict[str, Definition] = {}
        files: dict[str, Path] = {}
        faults: list[str] = []
        for path in _files_of(OWN_FOLDER, extra_folder):
            try:
                definition = read_definition(path)
            except BadDefinition as error:
                faults += [f"{error.source}: {fault}" for fault in error.faults]
                continue
            if definition.name in definitions:
                faults.append(f"{path.name}: {definition.name!r} is already defined by {files[definition.name]}")
                continue
            definitions[definition.name] = definition
            files[definition.name] = path
        if extra_folder is not None and not extra_folder.is_dir():
            faults.append(f"{extra_folder}: there is no such folder")
        if faults:
            raise BadDefinition(ALL, faults)
        return cls(definitions, files)

    def get(self, name: str) -> Definition | None:
        """The definition of that name, or None."""
        return self._definitions.get(name)

    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(self._definitions)

    def __iter__(self) -> Iterator[Definition]:
        return iter(self._definitions.values())

    def __len__(self) -> int:
        return len(self._definitions)

    def samples(self, name: str) -> tuple[Sample, ...]:
        """The samples beside that definition; none when there is no file. Raises BadDefinition, or KeyError."""
        return read_samples(self._files[name])


def read_definition(path: Path) -> Definition:
    """The definition in a file, which is called `<name>.toml`. Raises BadDefinition."""
    definition = parse_definition(_text(path), path.name)
    if definition.name != path.stem:
        raise BadDefinition(path.name, [f"name: {definition.name!r} belongs into {definition.name}.toml"])
    return definition


def read_samples(path: Path) -> tuple[Sample, ...]:
    """The samples beside a definition's file, in `<name>.samples.json`. Raises BadDefinition."""
    beside = path.with_suffix(".samples.json")
    return parse_samples(_text(beside), beside.name) if beside.exists() else ()


def check_file(path: Path, now: datetime) -> list[str]:
    """
    Everything that is wrong with a definition's file and its samples; empty when both are fine. A name that the relay
    has itself is a fault: no relay would start with such a file.
    """
    own = OWN_FOLDER / path.name
    is_taken = own.exists() and not own.samefile(path)
    faults = [f"{path.name}: {path.stem!r} is already defined by the relay itself"] if is_taken else []
    try:
        definition = read_definition(path)
        samples = read_samples(path)
    except BadDefinition as error:
        return [*faults, *(f"{error.source}: {fault}" for fault in error.faults)]
    return [*faults, *(f"{path.stem}.samples.json: {fault}" for fault in check_samples(definition, samples, now))]


def _files_of(*folders: Path | None) -> Iterator[Path]:
    for folder in folders:
        if folder is not None and folder.is_dir():
            yield from sorted(folder.glob("*.toml"))


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadDefinition(path.name, [f"cannot be read: {error.strerror}"]) from None
    if len(content) > FILE_BYTES_MAX:
        raise BadDefinition(path.name, [f"is larger than {FILE_BYTES_MAX} bytes"])
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise BadDefinition(path.name, ["is not UTF-8"]) from None
