"""Random programs on the whole machine, legal and not, with memory as bad as it gets."""
