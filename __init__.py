"""aqa: action quality assessment on cached video features."""

__version__ = "0.1.0"
