"""Devices that Pods claim: what drivers offer, what is taken, and which of them a Pod's claims get on a node."""
