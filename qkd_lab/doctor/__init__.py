"""What keeps a lab from running, or from giving keys: each finding with a hint where it is a bad one."""
