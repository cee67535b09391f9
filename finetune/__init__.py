"""The backbone and the head trained together, from video.

A head's `build`, `loss` and `judge` are those of cached training; where its streams come from is all that differs.
"""
