-- Beside MLflow's database, which Postgres makes by itself: one for the studies of campaigns, with an account of its
-- own. Jobs have that account; it reaches no other database. psql takes the password from the environment.
\getenv password STUDIES_PASSWORD
CREATE ROLE studies LOGIN PASSWORD :'password';
CREATE DATABASE studies OWNER studies;
REVOKE CONNECT ON DATABASE mlflow, postgres, template1 FROM PUBLIC;
