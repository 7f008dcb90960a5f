"""The runtime that needs no daemon: crun and conmon below, namespaces, overlay and control groups by our own hand."""
