"""Simulated nodes: kubelets without containers. A Node, a lease, Pods that say they run; no process, no task each.

For tests of operators and controllers, and to see what a cluster does when it is large. They stand beside real nodes.
What they do with a Pod, and how they fail, is set by annotations (`behaviour.py`).
"""
