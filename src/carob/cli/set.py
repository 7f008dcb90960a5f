"""Configure application resources: small changes to objects that exist.

Examples:
  carob set image deployment/web main=web:2
"""

from __future__ import annotations

VERBS = {"image": ("set_image", "Update the image of a pod template")}
