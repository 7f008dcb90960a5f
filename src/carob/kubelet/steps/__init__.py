"""The steps of a Pod's way on the node, a file each: they act, `decide` says when."""
