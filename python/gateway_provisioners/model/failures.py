"""Why kernels do not start, and how they end: the words that all engines share."""

from __future__ import annotations

from dataclasses import dataclass

EXIT_CODE_OF_LOST = 137  # as if killed: 128 + SIGKILL

# How long a kernel that is ended may take to do so by itself.
GRACE_SECONDS = 5

EXIT_CODE_HINTS = {
    64: "A parameter of the kernel's container is missing or malformed.",
    69: "The image holds no launcher or no runtime for this language.",
    78: "Encrypted channels are required, and the kernel in this image cannot encrypt.",
    126: "The image's start command cannot be executed.",
    127: "The image's start command was not found: the image lacks bootstrap-kernel.sh or the PATH is wrong.",
    137: "It was killed from outside.",
    139: "It crashed (segmentation fault).",
}


@dataclass(frozen=True)
class StartFailure:
    """Why a kernel cannot start.

    Attributes:
        reason: one CamelCase word, stable over releases.
        message: the cause as a sentence, and what to do.
        container_ran: whether the container has a log worth showing.
    """

    reason: str
    message: str
    container_ran: bool = False


OUT_OF_MEMORY = "It needed more memory than its limit and was killed (OOMKilled)."


def out_of_memory() -> StartFailure:
    """The container was killed for what it needed."""
    return StartFailure(
        "OOMKilled",
        f"{OUT_OF_MEMORY} Ask for more with KERNEL_MEMORY_LIMIT, or have the kernel's limit raised.",
        container_ran=True,
    )


def container_exited(code: int) -> StartFailure:
    """The container ended by itself."""
    hint = EXIT_CODE_HINTS.get(code, "")
    return StartFailure(
        "ContainerExited",
        f"Its container exited with code {code} before the kernel was up. {hint}".rstrip(),
        container_ran=True,
    )


def image_failure(image: object, reason: str, message: str, *, who: str) -> StartFailure:
    """The engine cannot have the image.

    Args:
        reason: the engine's word for it.
        message: its sentence.
        who: has to be allowed to pull it.
    """
    return StartFailure(
        "ImagePull",
        f"The image {image!r} cannot be pulled ({reason}): {sentence(message)} "
        f"Check its name and tag, and that {who} may pull it.",
    )


def sentence(text: str) -> str:
    """`text` of somebody else's with a full stop, so that a sentence of ours can follow."""
    text = text.strip()
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
