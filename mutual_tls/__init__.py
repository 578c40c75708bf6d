"""Mutual TLS between the lab's processes: who is calling, TLS contexts, an HTTPS client, a Flask app per listener."""
