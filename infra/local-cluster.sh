#!/usr/bin/env bash
# Starts a Ray head on this machine for submitted jobs: dashboard on 127.0.0.1 only, token required, files of its own.
#
#   infra/local-cluster.sh                  all CPUs, ports 6379 and 8265
#   CPUS=2 PORT=6400 DASHBOARD_PORT=8300 CLIENT_PORT=20400 CLUSTER_DIR=/tmp/other infra/local-cluster.sh
#
# PYTHON=/path/to/python chooses the environment that jobs run in; default: this checkout's .venv.
# It goes on running when this script ends; the last lines say how to stop it.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
port=${PORT:-6379}
dashboard=${DASHBOARD_PORT:-8265}
client=${CLIENT_PORT:-10001}
cpus=${CPUS:-$(nproc)}
# Short, for a socket's path has at most 107 characters; private, for Ray opens the folders below it to everybody.
dir=${CLUSTER_DIR:-/tmp/acutance-ray-$(id -u)}
python=${PYTHON:-$here/.venv/bin/python}

fail() { echo "error: $1" >&2; exit 2; }
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

for name in PORT:$port DASHBOARD_PORT:$dashboard CLIENT_PORT:$client; do
  number=${name#*:} name=${name%%:*}
  [[ $number =~ ^[1-9][0-9]{0,4}$ ]] && ((number > 1023 && number < 65536)) \
    || fail "$name=$number is no port; to do: choose one of 1024 to 65535"
  ((number < 10002 || number > 19999)) \
    || fail "$name=$number is a port that Ray gives to workers; to do: choose none of 10002 to 19999"
done
[[ $port != "$dashboard" && $port != "$client" && $dashboard != "$client" ]] \
  || fail "PORT, DASHBOARD_PORT and CLIENT_PORT are $port, $dashboard and $client; to do: choose three ports"
[[ -x $python ]] || fail "no $python; to do: make test-fast installs it, PYTHON=/path/to/python names another"
"$python" -c 'import ray, aiohttp_cors' 2>/dev/null || fail "$python has no ray[default], which job submission needs"
for taken in "$port" "$dashboard" "$client"; do
  ! listening "$taken" || fail "port $taken is taken; to do: PORT, DASHBOARD_PORT or CLIENT_PORT names another"
done
mkdir -p -m 700 "$dir"
[[ -O $dir && ! -L $dir ]] || fail "$dir belongs to somebody else; to do: CLUSTER_DIR=... names another"
chmod 700 "$dir"

export PATH="$(dirname "$python"):$PATH"  # a job's command is `python -m acutance ...`
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0  # a lone node has none to move its work to; Ray would wait 30 s
unset RAY_ADDRESS
"$python" -c 'from acutance.cluster.tokens import create_token; create_token()'
token=${RAY_AUTH_TOKEN:+the variable RAY_AUTH_TOKEN}
token=${token:-${RAY_AUTH_TOKEN_PATH:-~/.ray/auth_token}}

cd /
setsid ray start --head --block --disable-usage-stats --temp-dir "$dir/ray" --num-cpus "$cpus" \
  --port "$port" --dashboard-host 127.0.0.1 --dashboard-port "$dashboard" \
  --dashboard-agent-listen-port 0 --ray-client-server-port "$client" \
  </dev/null >"$dir/head.log" 2>&1 &
pid=$!
echo "$pid" >"$dir/head.pid"

for _ in $(seq 1800); do # three minutes: a machine may be busy
  kill -0 "$pid" 2>/dev/null || { tail -n 20 "$dir/head.log" >&2; fail "Ray did not start; its log is $dir/head.log"; }
  grep -q "Ray runtime started" "$dir/head.log" && listening "$dashboard" && break
  sleep 0.1
done
grep -q "Ray runtime started" "$dir/head.log" || { kill "$pid"; fail "Ray did not start in time: $dir/head.log"; }

cat <<END
Ray runs here with $cpus CPUs, pid $pid, log $dir/head.log
  submit   acutance jobs submit --address http://127.0.0.1:$dashboard -- run pipelines/quickstart.yaml
  attach   acutance run pipelines/quickstart.yaml --address 127.0.0.1:$port
  look     http://127.0.0.1:$dashboard asks for the token, which lies in $token
  stop     kill $pid
END
