"""Measures restored pictures.

`metrics` names every metric (`ssim`, `niqe`, `perceptual` and `ma` hold the longer ones); `protocols` say what is done
to a picture first. `evaluate` runs it over Ray, `results` are what it found,
`compare` and `intervals` say how sure that is; `report`, `sheet` and `spectrograms` show it. `validation` measures what
restores no pictures, `amounts` whole data sets.
"""
