"""Writes checkpoints into a directory, where they can be kept by others than those who keep the database."""

import os
from pathlib import Path


def write(directory: Path, log_name: str, size: int, checkpoint: str) -> None:
    """
    Write a checkpoint into a file below the directory, named after its log and its size. A file is never changed.

    Raises OSError, also when the directory is not there: it may be one that is not mounted at the moment.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} is no directory")
    path = directory / log_name / f"{size:019d}.checkpoint"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary_path = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary_path.open("w", encoding="utf-8") as file:
            file.write(checkpoint)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(temporary_path)
    except FileExistsError:
        if path.read_text(encoding="utf-8") != checkpoint:
            raise
    finally:
        temporary_path.unlink(missing_ok=True)
