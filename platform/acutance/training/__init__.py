"""Training: one step for every stage of every paper, checkpoints that resume exactly, and Ray Train around both.

`plan` turns a pipeline into plans of stages, `build` a plan into a learner. `learner` takes the steps; `state` and
`checkpoint` save and load it; `recovery` handles steps that are not finite. `loop` trains one stage in this process.
`launch` trains stages under Ray Train: workers join their `process_group` and send `messages` to the driver.
"""
