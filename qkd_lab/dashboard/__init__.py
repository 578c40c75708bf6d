"""The dashboard: a live picture of the network for browsers on this host, and what an operator may do from it.

One thread (`poller`) asks the processes' operator listeners once a second, whoever watches; `picture` and `words` turn
the answers into what the page shows, `hub` gives it to every browser by server-sent events, `web` and `actions` are the
HTTP edge, `session` says who may act. The page itself is in `static`, plain files that no build made.
"""
