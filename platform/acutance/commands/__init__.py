"""What a command does from end to end, whoever calls it: `run`, `evaluate`, `restore`, `serve`, `doctor`, `tune`."""
