"""The one door to the kernel; see `carob.host.types`."""
