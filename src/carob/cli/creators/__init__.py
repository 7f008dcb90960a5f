"""`create KIND`: a file per family of kinds; each turns flags into the tree that is sent."""
