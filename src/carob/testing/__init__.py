"""Room for the pytest plugin that users will get: a cluster as a fixture. Nothing is in it yet."""
