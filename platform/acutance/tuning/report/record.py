"""What a report is made of."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from acutance.config.search_space import Campaign, Search
from acutance.data.datasets import Source
from acutance.tuning.study import TrialRecord
from acutance.tuning.tables import Table


@dataclass(frozen=True)
class Record:
    """A campaign that has run.

    Attributes:
        study: its name.
        root: URI of the storage root.
        address: where studies are kept; it may hold a password and is never printed whole.
        run: the id of its MLflow run.
        pictures: data set -> the pictures that objectives were measured on.
        table: of a table campaign, what was measured.
    """

    study: str
    root: str
    search: Search
    trials: Sequence[TrialRecord]
    address: str = field(repr=False)
    run: str
    pictures: Mapping[str, Sequence[Source]]
    table: Table | None = None

    @property
    def campaign(self) -> Campaign:
        """The settings."""
        return self.search.campaign

    @property
    def wanted(self) -> int:
        """How many trials there were to be."""
        return len(self.search.points) if self.search.points is not None else self.campaign.budget.trials

    @property
    def steps(self) -> int:
        """The steps of a trial that is not stopped."""
        return self.search.shortened.stages[self.campaign.stage].steps


@dataclass(frozen=True)
class Figure:
    """A figure as PNG (None if there is nothing to draw), and notes about it."""

    png: bytes | None
    notes: Sequence[str] = ()

    @property
    def base64(self) -> str:
        """The PNG as a page holds it."""
        return b64encode(self.png or b"").decode()
