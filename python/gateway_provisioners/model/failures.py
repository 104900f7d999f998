"""The failures and ends of kernels that all engines have in common, in words."""

from __future__ import annotations

from gateway_provisioners.errors import LaunchFailed

EXIT_CODE_OF_KILLED = 137  # 128 + SIGKILL
EXIT_CODE_OF_LOST = EXIT_CODE_OF_KILLED  # of a kernel whose workload is gone

# How long a kernel that is stopped or removed may take to end by itself.
GRACE_SECONDS = 5

# How much of a container's log a user sees when a launch has failed.
LOG_LINES = 20
_LOG_CHARACTERS = 6000
# The most characters of an engine's own text in an explanation.
_DETAIL_CHARACTERS = 1000

EXIT_CODE_HINTS = {
    64: "A parameter of the kernel's container is missing or malformed.",
    69: "The image holds no launcher or no runtime for this language.",
    78: "Encrypted channels are required, and the kernel in this image cannot encrypt.",
    126: "The image's start command cannot be executed.",
    127: "The image's start command was not found: the image lacks bootstrap-kernel.sh or the PATH is wrong.",
    EXIT_CODE_OF_KILLED: "It was killed from outside.",
    139: "It crashed (segmentation fault).",
}

# Of kernels that were running: other codes are those of a start, or the kernel's own.
_SIGNALLED = 128
_HINTS_OF_KILLED = {
    134: "It crashed (abort).",
    EXIT_CODE_OF_KILLED: "It was killed from outside, perhaps because its node ran out of memory.",
    139: EXIT_CODE_HINTS[139],
    143: "It was ended from outside (SIGTERM).",
}

OUT_OF_MEMORY = "The kernel needed more memory than its limit and was killed (OOMKilled)."
_TOO_MUCH_MEMORY, _, _KILLED = OUT_OF_MEMORY.partition(" and ")
IMAGE_CASE = "The image cannot be pulled ({word}): {image!r}: {message}"
IMAGE_REMEDY = "Check its name and tag, and that {puller} may pull it."
BEING_CREATED = "The node is still creating the container; pulling a large image takes time."
NOT_REPORTED = "The kernel's launcher has not reported to the gateway, though its container runs."


def out_of_memory(limit: str) -> LaunchFailed:
    """The container was killed because it exceeded its memory limit, a quantity; "" if that is not known."""
    return LaunchFailed("OOMKilled", killed_for_memory(limit), container_ran=True)


def killed_for_memory(limit: str) -> str:
    """Explain the end of a kernel that exceeded its memory limit, a quantity; "" if that is not known."""
    return f"{_TOO_MUCH_MEMORY} of {limit} and {_KILLED}" if limit else OUT_OF_MEMORY


def is_out_of_memory(cause: str) -> bool:
    """Return whether these words are those of `killed_for_memory`."""
    return cause.startswith(_TOO_MUCH_MEMORY)


def exited(code: int) -> str:
    """Explain the end of a running kernel of which only the exit code is known.

    Args:
        code: negative, as Python has it, or more than 128, as shells have it, for a signal.
    """
    code = _SIGNALLED - code if code < 0 else code
    hint = _HINTS_OF_KILLED.get(code, "")
    return f"The kernel exited with code {code}. {hint}".rstrip()


def container_exited(code: int) -> LaunchFailed:
    """The container ended by itself."""
    hint = EXIT_CODE_HINTS.get(code, "")
    return LaunchFailed(
        "ContainerExited",
        f"The kernel's container exited with code {code} before the kernel was up. {hint}".rstrip(),
        container_ran=True,
    )


def container_cannot_run(message: str) -> LaunchFailed:
    """The engine cannot create or start the container; `message` is its sentence."""
    return LaunchFailed(
        "ContainerCannotRun", f"The kernel's container cannot be created or started: {message}"
    )


def image_failure(image: object, reason: str, message: str, *, puller: str) -> LaunchFailed:
    """The engine cannot get the image.

    Args:
        reason: the engine's word for it.
        message: its sentence.
        puller: the party that must be allowed to pull it.
    """
    case = IMAGE_CASE.format(image=image, word=reason, message=sentence(message))
    return LaunchFailed("ImagePull", f"{case} {IMAGE_REMEDY.format(puller=puller)}")


def last_lines(log: str, *, share: int = 1) -> str:
    """Return the end of a log, as an answer can hold it.

    Args:
        share: how many logs the answer holds.
    """
    return "\n".join(log.splitlines()[-LOG_LINES:])[-(_LOG_CHARACTERS // share) :]


def detail(message: object) -> str:
    """Return an engine's own text, which may be missing or long, as a sentence."""
    return sentence(str(message or "")[:_DETAIL_CHARACTERS]) or "no further details."


def sentence(text: str) -> str:
    """Return another program's text on one line and with a full stop, so that a sentence can follow."""
    text = " ".join(text.split())
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
