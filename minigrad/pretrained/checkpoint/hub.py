"""Models on the Hugging Face Hub, downloaded to a local directory by the `huggingface_hub` library.

Its cache (HF_HOME) and its switch for working offline (HF_HUB_OFFLINE=1) are respected, because that library reads
them.
"""

import re
from collections.abc import Sequence
from pathlib import Path


def is_name(source: str) -> bool:
    """Whether the text looks like "bert-base-uncased" or "google/vit-base-patch16-224", and not like a local path."""
    return bool(re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", source)) and not (
        "/" in source and Path(source).parent.is_dir()
    )


def download(name: str, patterns: Sequence[str], revision: str | None = None, local_files_only: bool = False) -> Path:
    """The directory with the files of a model on the Hub; files in the cache are not downloaded again.

    Args:
        name: "bert-base-uncased", "google/vit-base-patch16-224".
        patterns: which files, such as "*.json".
        revision: a branch, a tag or a commit.
        local_files_only: use the cache alone.

    Raises:
        ImportError: the library is missing.
        FileNotFoundError: the Hub or, offline, the cache has no such model; or the Hub cannot be reached.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise ImportError(
            f"there is no directory {name}; to download a model of that name from the Hugging Face Hub, the "
            f'huggingface_hub library is needed ({error}): pip install "minigrad-learn[hub]"'
        ) from None
    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=list(patterns), local_files_only=local_files_only)
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:  # OSError: not in the cache, offline, no connection
        told = str(error).strip().partition("\n")[0]
        raise FileNotFoundError(
            f"there is no directory {name}, and no model of that name could be read from the Hugging Face Hub "
            f"({told}): check the name, the connection, and HF_TOKEN if it is not public"
        ) from None
