"""How well each stage of retrieval finds what it should: queries, metrics, comparisons."""
