"""The network of a node: Pod addresses and routes, host ports, services; later DNS and policy.

Start at `carob.network.node.open_network`. Nothing here knows the Kubernetes API.
"""
