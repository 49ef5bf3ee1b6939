"""Delta tables in a folder or an object store: fenced partitions, digests, small files and the ledger."""
