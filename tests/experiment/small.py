"""Settings of a run of seconds."""

SMALL = {
    "learning_rate": 0.003,
    "limit": 4,
    "size": 48,
    "crop": 32,
    "steps": 4,
    "evaluate_every": 2,
    "batch_size": 2,
    "width": 4,
    "depth": 2,
}
