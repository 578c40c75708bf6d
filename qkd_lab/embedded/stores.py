"""How a site's stores are set up, in both ways of running: nothing that was acknowledged is lost, no key is logged."""

from __future__ import annotations

# Both the role and the database of a site's KME.
POSTGRES_NAME = "kme"

POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # What a KME is told is stored must still be there after a crash.
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "16MB",
    "max_connections": "400",  # 17 of each worker of the KME, 8 of its scheduler
    "max_wal_size": "128MB",
    "min_wal_size": "32MB",
    "max_parallel_workers": "0",
    "jit": "off",
    # No statement and no parameter of one reaches the log.
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "timezone": "UTC",
}

REDIS_SETTINGS = {
    "bind": "127.0.0.1",
    "protected-mode": "yes",
    "daemonize": "no",
    "databases": "1",
    # Every write is on disk before it is answered: a delivered key must not come back after a crash.
    "appendonly": "yes",
    "appendfsync": "always",
    "save": '""',
    # A full store refuses writes; it never drops keys by itself.
    "maxmemory-policy": "noeviction",
    # Logs of slow commands and of crashes would show arguments, which are keys.
    "slowlog-log-slower-than": "-1",
    "crash-log-enabled": "no",
}


def redis_configuration(password: str, **more: str) -> str:
    """The content of a `redis.conf`; `more` adds or replaces settings. It holds the password: write it privately."""
    settings = {**REDIS_SETTINGS, **more, "requirepass": password}
    return "".join(f"{name} {value}\n" for name, value in settings.items())
