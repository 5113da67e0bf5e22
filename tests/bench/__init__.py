"""`make bench`: what the indexer costs, beside the least that reading and storing the same logs can cost."""
