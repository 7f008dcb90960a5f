"""The runtime's seam over the CRI's wire (`runtime.v1`): served on a unix socket, and driven on somebody else's."""
