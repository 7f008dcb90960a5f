"""Images of the node: names, the store on disk, pulling, loading, building, unpacking. `images.Images` is the door."""
