"""
Forget people: rows older than a survey declares, and all that a respondent ever answered, down to the bytes of old
versions.

    rules        which rows have to go
    partitions   one partition without them, still k-anonymous, still accounted for in the ledger
    traces       the files that hold them, of every version
    sweep        all of a workflow
    retention    what `maintain_lake` does
    erasure      what `erase_respondent` does, and its proof
    __main__     `python -m include.privacy`: a respondent's pseudonym, for the data officer
"""
