"""Campaigns from end to end: `context` opens one, `campaign` runs it, `outcome` holds its result."""
