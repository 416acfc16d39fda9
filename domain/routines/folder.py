"""A folder: where lists show routines, and other folders."""

from msgspec.structs import replace

from domain.errors import ImpossibleHistory
from domain.events import FolderCreated, FolderDeleted, FolderEvent, FolderUpdated
from domain.values import FolderDetails, Value


class Folder(Value, frozen=True):
    """The state of a folder; a deleted one stays known, since revisions of routines may name it."""

    details: FolderDetails
    deleted: bool = False


def evolve(folder: Folder | None, event: FolderEvent) -> Folder:
    """Fold an event into the state of a folder. Raise ImpossibleHistory if the event cannot follow."""
    match folder, event:
        case None, FolderCreated(details=details):
            return Folder(details=details)
        case Folder(deleted=False), FolderUpdated(details=details):
            return replace(folder, details=details)
        case Folder(deleted=False), FolderDeleted():
            return replace(folder, deleted=True)
        case _:
            raise ImpossibleHistory(folder, event)


def update(folder: Folder, details: FolderDetails) -> list[FolderEvent]:
    """Change the details; nothing is recorded when they are the same."""
    return [] if details == folder.details else [FolderUpdated(details=details)]
