"""Training: one step for every stage of every paper, checkpoints that resume exactly, and Ray Train around both.

`plan` turns a pipeline into jobs with fingerprints, `build` a job into a learner, `learner` is what learns and takes
the step, of `player`s that agree `together` with those of other workers. `checkpoint` freezes and thaws it, `trouble`
sees to steps that cannot be taken, `loop` trains one stage in this process, `launch` trains stages under Ray Train:
workers enter their `group`, and post on a `board` what the driver shows.
"""
