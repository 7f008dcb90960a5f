"""The verbs of `carob rollout`."""
