"""`make bench-ws`: what a message of the sockets costs, beside a plain Node `ws` server."""
