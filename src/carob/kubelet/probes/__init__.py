"""Startup, liveness and readiness probes: what to ask, how often, and what the answers mean."""
