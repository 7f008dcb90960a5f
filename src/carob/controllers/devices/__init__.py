"""Claims of devices: made from templates, reserved, given back."""
