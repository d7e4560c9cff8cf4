"""Campaigns as files say them: `parameters` what may vary, `settings` the whole file, `tables` a paper's own tables.

`load` reads a file together with the pipeline it searches, and tries every dotted path before anything starts.
"""

from acutance.config.search_space.load import Point, Search, Start, load, started
from acutance.config.search_space.settings import DOMINANCE, Asha, Campaign, Goal, Median, Pbt

__all__ = ["DOMINANCE", "Asha", "Campaign", "Goal", "Median", "Pbt", "Point", "Search", "Start", "load", "started"]
