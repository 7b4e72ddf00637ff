"""Random small jobs, and what each must come to: the same numbers as plain MXNet, or a refusal that names a key."""
