"""What a campaign leaves behind: which trials are best, figures of them, a page that holds it all.

`front` says who is best, `plots` draws from the `derived_studies`, `sheets` restores pictures with the best models,
`table` words a paper's table, `page` fills in the page; `write` makes the files.
"""
