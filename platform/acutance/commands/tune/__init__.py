"""Campaigns from end to end: `context` opens one, `campaign` runs it, `outcome` holds its result."""

from acutance.commands.tune.campaign import finished, run_campaign
from acutance.commands.tune.context import CampaignContext, open_campaign, plan_campaign
from acutance.commands.tune.outcome import CampaignOutcome, as_dict, winners_work
from acutance.tuning.study import trial_records

__all__ = [
    "CampaignContext",
    "CampaignOutcome",
    "as_dict",
    "finished",
    "open_campaign",
    "plan_campaign",
    "run_campaign",
    "trial_records",
    "winners_work",
]
