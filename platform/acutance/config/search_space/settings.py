"""What a search-space file may say: parameters, objectives, sampler, scheduler, budget and resources."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from acutance.config.data import DataSetName
from acutance.config.length import IN_STEPS
from acutance.config.metrics import AMOUNTS, METRICS, PARTS, QUANTITIES, score_name
from acutance.config.schema import Seed, Strict
from acutance.config.search_space.parameters import Parameter
from acutance.config.search_space.tables import TableSettings, after_problems
from acutance.errors import nearest

DOMINANCE = "dominance"
"""In place of an objective: a trial ranks by the number of trials that are better in every objective."""

PrimaryObjective = Annotated[
    str, Field(description="the objective by which trials are stopped or copied, or `dominance`; default: the first")
]


class Goal(Strict):
    """A metric of the evaluation, on a data set, to be made large or small.

    A metric that should come close to the truth's own value (fine detail) counts by its distance to it. An amount may
    also be on `training` or `validation`: the data that the stage trains on or is validated on.
    """

    metric: str
    on: DataSetName
    goal: Literal["maximize", "minimize"]

    @property
    def name(self) -> str:
        """How tables and studies call it."""
        return score_name(self.metric, self.on)

    @property
    def picture_metric(self) -> str:
        """The metric of restored pictures that it follows from; empty where it is of none."""
        if self.metric in AMOUNTS:
            return "" if self.on in PARTS else AMOUNTS[self.metric].adds_up
        return self.metric if self.metric in METRICS else ""

    def loss(self, value: float) -> float:
        """Return a value so that smaller is better."""
        return value if self.goal == "minimize" else -value


class Sampler(Strict):
    """The sampler, which proposes the next trial."""

    type: Literal["tpe", "gp", "cmaes", "nsgaii", "random", "grid"] = "tpe"
    seed: Seed = 0
    startup: PositiveInt = Field(
        default=10, description="random trials before the first that is thought about; of nsgaii, its population"
    )


class Asha(Strict):
    """Asynchronous successive halving: at each rung only the best share of those that reached it goes on.

    Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, in the form that stops.
    """

    type: Literal["asha"]
    reduction_factor: float = Field(default=3, gt=1, description="one in so many goes on from a rung")
    first_rung: Annotated[PositiveInt, IN_STEPS] = Field(description="steps before a trial can be stopped")
    objective: PrimaryObjective = ""


class Median(Strict):
    """Stops a trial whose best score so far is worse than the median of the others' scores at the same step.

    Golovin et al., "Google Vizier", KDD 2017, section 3.5.1.
    """

    type: Literal["median"]
    every: Annotated[PositiveInt, IN_STEPS] = Field(description="steps between two looks")
    after: PositiveInt = Field(default=4, description="finished trials before anything is stopped")
    objective: PrimaryObjective = ""


class Pbt(Strict):
    """Population based training: every so often the worst copy the best, weights and all, and change their numbers.

    Jaderberg et al., "Population Based Training of Neural Networks", 2017, in generations: all members of one have
    ended before the next begins. `budget.trials` counts the members of all generations together.
    """

    type: Literal["pbt"]
    population: PositiveInt = 4
    every: Annotated[PositiveInt, IN_STEPS] = Field(description="steps of a generation")
    quantile: float = Field(default=0.25, gt=0, le=0.5, description="share that copies, and share that is copied")
    resample: float = Field(default=0.25, ge=0, le=1, description="chance of a fresh value; else it is nudged")
    objective: PrimaryObjective = ""


Scheduler = Annotated[Asha | Median | Pbt, Field(discriminator="type")]


class Budget(Strict):
    """How much a campaign may spend.

    A shorter training is shorter in everything: `steps` and `scale` shorten all stages that it comes from as well, and
    what is counted in steps in their settings and in the scheduler's.
    """

    trials: PositiveInt = 10
    steps: PositiveInt | None = Field(
        default=None, description="of the stage, in each trial; all else is shortened as it is"
    )
    scale: PositiveFloat | None = Field(default=None, description="how many times as long as in the pipeline's file")
    hours: PositiveFloat | None = Field(default=None, description="then no new trial starts and running ones stop")

    @model_validator(mode="after")
    def _said_once(self) -> Budget:
        if self.steps is not None and self.scale is not None:
            raise ValueError("steps and scale say the same thing; leave one of them out")
        return self


class Resources(Strict):
    """What each trial gets."""

    cpus: PositiveInt = Field(default=1, description="of each worker")
    gpus: Literal["auto"] | NonNegativeFloat = Field(
        default="auto",
        description="of each worker, also a fraction; auto: 1 where the cluster has or can start GPUs, else 0",
    )
    workers: PositiveInt = Field(default=1, description="processes that train a trial together")


class Campaign(Strict):
    """A search space file."""

    title: str
    pipeline: str = Field(description="the pipeline's file, from the repository's root")
    stage: str
    profile: str | None = None
    overrides: dict[str, Any] = Field(default_factory=dict, description="dotted path -> value, for every trial")
    parameters: dict[str, Parameter] = Field(
        default_factory=dict,
        description="dotted path inside the stage, or from the top (data. or stages.) -> what values it may take",
    )
    objectives: list[Goal] = Field(min_length=1)
    sampler: Sampler = Sampler()
    scheduler: Scheduler | None = None
    budget: Budget = Budget()
    seeds: PositiveInt = Field(
        default=1,
        description="trainings a point, of the stage and all that it comes from, each with its seed; scores are means",
    )
    resources: Resources = Resources()
    concurrency: PositiveInt = Field(default=2, description="trials at the same time")
    tables: dict[str, TableSettings] = Field(default_factory=dict, description="a paper's own tables")
    published: str | None = Field(
        default=None, description="one of the tables, whose published rows are drawn beside the Pareto front"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Campaign:
        problems = [problem for goal in self.objectives for problem in _goal_problems(goal)]
        names = [goal.name for goal in self.objectives]
        if doubled := {name for name in names if names.count(name) > 1}:
            problems.append(f"objectives: {', '.join(sorted(doubled))} is named twice")
        objective = self.scheduler.objective if self.scheduler else ""
        if objective and objective not in (*names, DOMINANCE) and not problems:
            problems.append(
                f"scheduler.objective: there is no objective {objective!r}{nearest(objective, [*names, DOMINANCE])}"
            )
        if isinstance(self.scheduler, Pbt) and self.sampler.type == "grid":
            problems.append("scheduler: population based training draws its own values; a grid has no use for it")
        if self.sampler.type == "cmaes" and len(self.objectives) > 1:
            problems.append("sampler.type: cmaes searches for one objective; tpe, gp and nsgaii for several")
        if isinstance(self.scheduler, Pbt) and self.seeds > 1:
            problems.append("seeds: population based training copies one set of weights; use one seed")
        gpus = self.resources.gpus
        if self.resources.workers > 1 and gpus != "auto" and 0 < gpus < 1:
            problems.append("resources: workers that train together need a GPU each, not a part of one")
        problems += [problem for name, parameter in self.parameters.items() for problem in self._when(name, parameter)]
        problems += self._published()
        problems += after_problems(self.tables)
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _when(self, name: str, parameter: Any) -> list[str]:
        """A condition may refer to earlier parameters alone, and to values that they can have."""
        names = list(self.parameters)
        before, problems = names[: names.index(name)], []
        for other, values in parameter.when.items():
            if other not in before:
                problems.append(f"parameters.{name}.when: no parameter {other!r} comes before{nearest(other, before)}")
                continue
            possible = getattr(self.parameters[other], "choice", None)
            if possible is None:
                problems.append(f"parameters.{name}.when: {other} is a range; a condition needs a `choice`")
            elif strange := [value for value in values if value not in possible]:
                choices = ", ".join(map(str, possible))
                problems.append(f"parameters.{name}.when: {other} is never {strange[0]!r}; it is one of {choices}")
        return problems

    def _published(self) -> list[str]:
        """Published rows are drawn where their table has what the search aims at."""
        if self.published is None:
            return []
        if self.published not in self.tables:
            return [f"published: there is no table {self.published!r}{nearest(self.published, self.tables)}"]
        columns = [column.name for column in self.tables[self.published].columns]
        lacking = [goal.name for goal in self.objectives if goal.name not in columns]
        return [f"published: the table {self.published} has no column {name!r}" for name in lacking]

    @property
    def primary_objective(self) -> str:
        """The objective by which trials are stopped and the winner is chosen, or `dominance`."""
        return (self.scheduler.objective if self.scheduler else "") or self.objectives[0].name

    def path_of(self, parameter: str) -> str:
        """Return the dotted path of a parameter inside the pipeline."""
        from_top = parameter.startswith(("data.", "stages.", "scale", "seed"))
        return parameter if from_top else f"stages.{self.stage}.{parameter}"

    def placed(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return values by their paths inside the pipeline."""
        return {self.path_of(name): value for name, value in values.items()}


def _goal_problems(goal: Goal) -> list[str]:
    if goal.metric not in QUANTITIES:
        return [f"objectives: there is no metric {goal.metric!r}{nearest(goal.metric, QUANTITIES)}"]
    if QUANTITIES[goal.metric].goal == "closest to the truth" and goal.goal == "maximize":
        return [f"objectives: {goal.metric} counts by its distance to the truth; minimize that"]
    return []
