"""Colours of figures, whatever draws them."""

from __future__ import annotations

BLUE, GREY, ORANGE = "#1f5fa8", "#8a8f98", "#c8571b"
