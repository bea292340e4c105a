#!/usr/bin/env bash
# The test command: installs what the tests need on a fresh Debian machine, then checks formatting and lints and runs
# every test. Needs a Rust toolchain, and root or sudo only where an apt package is missing. A test whose counterpart
# (strace, a mail server in Python, a token service in Node.js, PostgreSQL) is missing fails; none is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

again() { # again COMMAND…: mirrors and proxies fail now and then
  "$@" || { sleep 5 && "$@"; } || { sleep 15 && "$@"; }
}

# Package and the command that works once it is there. Debian's python3 alone has no ensurepip.
missing=()
need() { local package=$1; shift; "$@" >/dev/null 2>&1 || missing+=("$package"); }
need build-essential cc --version
need strace strace -V
need python3 python3 --version
need python3-venv python3 -c 'import venv, ensurepip'
need openssl openssl version
need nodejs node --version
need npm npm --version
need procps type -P kill
need postgresql sh -c "command -v initdb || ls /usr/lib/postgresql/*/bin/initdb"
need util-linux type -P setpriv
if [ ${#missing[@]} -gt 0 ]; then
  echo "== apt-get install ${missing[*]}"
  again as_root apt-get update -qq
  again as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

# A toolchain of rustup's minimal profile has neither.
cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
again cargo fetch --locked --target "$(rustc -vV | sed -n 's/^host: //p')"

echo "== format"
cargo fmt --check
echo "== lints"
cargo clippy --locked --all-targets -- -D warnings
echo "== tests"
LEADFLOW_SIM_SEEDS="${LEADFLOW_SIM_SEEDS:-10000}" cargo test --locked --no-fail-fast
