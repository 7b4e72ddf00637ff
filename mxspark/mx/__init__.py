"""Code of role processes: the only place that imports MXNet."""
