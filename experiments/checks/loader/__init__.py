"""How fast images are decoded, prepared and fed, for each report's pipeline, and what a training waits for them.

`python -m experiments.checks.loader [--pipelines numtadb,cifar10] [--seconds 2] [--data-root DIR]`

Each pipeline is a configuration of experiments/configs with its augmentation. Measured are, in this order:
- prepare: images/s of decoding and the deterministic steps, into an empty cache, and images/s of finding them there;
- feed: images/s of the loader's batches with nothing else to do, on all cores, and on one thread;
- train: a step on one batch at hand, again and again, beside a training on the loader's batches. Waited is the share
  of the training's time until batches were there; slower is how much longer it takes than its steps alone. That is more
  than waiting where both share the same cores: what a batch costs is then taken from the step.

A pipeline is loader-bound where a batch takes longer on one thread than a step does (cost above 100%); where it takes
less, no more than 5% may be waited. Sets that are not at hand are left out. Needs the data sets under CNN_DATA.
"""
