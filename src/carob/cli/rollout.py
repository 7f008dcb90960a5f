"""Manage the rollout of one or many resources: deployments, daemon sets, stateful sets.

Examples:
  carob rollout status deployment/web
  carob rollout history deployment/web
  carob rollout undo deployment/web --to-revision=3
  carob rollout restart daemonset/agent
"""

from __future__ import annotations

VERBS = {
    "history": ("rollouts.history:History", "View rollout history"),
    "pause": ("rollouts.changes:Pause", "Mark the provided resource as paused"),
    "restart": ("rollouts.changes:Restart", "Restart a resource"),
    "resume": ("rollouts.changes:Resume", "Resume a paused resource"),
    "status": ("rollouts.status:Status", "Show the status of the rollout"),
    "undo": ("rollouts.undo:Undo", "Undo a previous rollout"),
}
