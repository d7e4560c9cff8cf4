"""Campaigns from end to end: `work` opens one, `campaign_run` runs it, `outcome` is what it came to."""

from acutance.tune.campaign_run import finished, run_campaign
from acutance.tune.outcome import CampaignOutcome, as_dict, winners_work
from acutance.tune.work import CampaignWork, open_campaign, plan_campaign
from acutance.tuning.study import attempts

__all__ = [
    "CampaignOutcome",
    "CampaignWork",
    "as_dict",
    "attempts",
    "finished",
    "open_campaign",
    "plan_campaign",
    "run_campaign",
    "winners_work",
]
