"""What the node does when it runs short of memory, disk or process numbers. Pure decisions, one thin runner."""
