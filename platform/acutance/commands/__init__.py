"""What a command does from end to end: `run`, `evaluate`, `restore`, `serve`, `doctor`, `check`, `tune`."""
