"""Errors that are not ours, said in a sentence."""

from __future__ import annotations

from napari_unet.errors import is_out_of_memory


def explain(error: BaseException) -> str:
    """Say what happened in a sentence, for an error that is not one of ours.

    >>> explain(ValueError("odd"))
    'The job ended with an unexpected error (ValueError: odd). Please report it with the details.'
    """
    text = str(error).strip()
    first_line = text.splitlines()[0] if text else "no message"
    if is_out_of_memory(error):
        return (
            "There was too little memory for this job. Choose a smaller tile, a smaller region or "
            "another device, and close other programs that use the memory."
        )
    if is_lost_gpu(error):
        return (
            f"The GPU stopped working for this program ({first_line}). Start the job again, and "
            "choose the CPU if it recurs."
        )
    if isinstance(error, OSError):
        return f"A file could not be read or written ({first_line}). Check the disk and its space."
    return (
        f"The job ended with an unexpected error ({type(error).__name__}: {first_line}). "
        "Please report it with the details."
    )


def is_lost_gpu(error: BaseException) -> bool:
    """Whether this process cannot use the GPU any more; CUDA forgives an error only to a new one."""
    return isinstance(error, RuntimeError) and "cuda error" in str(error).lower() and not is_out_of_memory(error)
