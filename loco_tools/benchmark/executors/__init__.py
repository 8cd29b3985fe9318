"""Where the cells of a run are worked on: processes of this machine, Ray or SLURM.

A cell is one plain-data `Job`, and its code is the same everywhere:
`loco_tools.benchmark.cell.attempt`.
An executor takes jobs that are ready and hands back how each of them ended; which jobs are ready
is for `loco_tools.benchmark.run.scheduling` to know.
"""
