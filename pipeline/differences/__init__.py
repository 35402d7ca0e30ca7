"""The ten differences that textbooks name between convolutional and recurrent networks, measured.

Each has a file here that reads from top to bottom: claim, settings, data, networks, statistic, verdict, figure. A
difference is a module with

* ``CLAIM``: the claim of textbooks, in one sentence;
* ``Settings``: the values of differences/params.yaml that it reads, with their allowed ranges;
* ``arms(settings)``: what is trained, see `paired.Arm`;
* ``measure(arm, seed, rate, settings, counts)``: one training and what is seen of it, plain JSON, in a worker;
* ``judge(measured, settings)``: the statistic over the paired seeds and the verdict, see `result.Result`;
* ``draw(result)``: the figure;
* ``after(measured, settings, folder)``, where there is one: writes what depends on the machine, such as seconds, into
  a folder of timings/.
"""

from __future__ import annotations

# In the order of the textbooks, with the words that a reader sees.
DIFFERENCES: dict[str, str] = {
    "connectivity": "Connectivity",
    "data_types": "Data types",
    "temporal_dependency": "Temporal dependency",
    "features": "Feature extraction",
    "sharing": "Parameter sharing",
    "memory": "Memory",
    "training": "Training",
    "parallelism": "Parallelism",
    "variants": "Variants",
    "uses": "Uses",
}
