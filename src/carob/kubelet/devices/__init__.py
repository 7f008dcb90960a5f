"""Devices that Pods claim: the drivers on this node that prepare them, and what of them containers get."""
