#!/usr/bin/env bash
# Writes infra/.env (or the file that is named) from infra/.env.example: a random value for every empty line.
# A file that is there stays as it is. Only its owner can read it, and git ignores it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
file=${1:-$here/.env}
if [[ -e $file ]]; then
  echo "error: $file is there already; to do: remove it first if its passwords are to change" >&2
  exit 2
fi

umask 077
draft=$(mktemp "$file.XXXXXX")
trap 'rm -f "$draft"' EXIT
while IFS= read -r line; do
  if [[ $line =~ ^[A-Z0-9_]+=$ ]]; then
    line+=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
  fi
  printf '%s\n' "$line"
done <"$here/.env.example" >"$draft"
ln "$draft" "$file"  # whole or not at all, and never over another
echo "wrote $file"
