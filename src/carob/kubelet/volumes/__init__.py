"""Volumes of Pods: folders and files on the node that are mounted into containers."""
