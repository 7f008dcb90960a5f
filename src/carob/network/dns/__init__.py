"""The cluster's DNS, answered by every node itself: `zone` knows the names, `messages` the packets, `forward` everybody
else's names, `server` the sockets. Nothing here knows the Kubernetes API.
"""
