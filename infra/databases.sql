-- Beside MLflow's database, which Postgres makes by itself: one for the studies of campaigns.
CREATE DATABASE studies;
