"""The commands of `submasking`, one per module: `add` describes it to argparse, the function it sets does the work."""
