"""Training: one step for every stage of every paper, checkpoints that resume exactly, and Ray Train around both.

`plan` turns a pipeline into jobs with fingerprints, `build` a job into a learner, `learner` is what learns and takes
the step, `checkpoint` freezes and thaws it, `loop` trains one stage in this process, `launch` trains stages under Ray
Train.
"""
