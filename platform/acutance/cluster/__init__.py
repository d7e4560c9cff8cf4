"""Ray clusters: connecting to one (`connect`) and running commands on one (`jobs`)."""
