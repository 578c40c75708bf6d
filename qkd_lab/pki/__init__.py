"""The lab's certificates: an authority per role of caller, a folder per holder. Made at start, never committed."""
