"""carob's benchmarks: `scripts/bench` runs them against a real cluster on this machine."""
