#!/usr/bin/env bash
# The test command: installs what the tests need on a fresh Debian machine, then checks formatting, lints, licences and
# runs every test. Needs a Rust toolchain; apt packages are installed only where they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."

need() { # need COMMAND PACKAGE…: installs the packages when the command is missing
  local command=$1
  shift
  command -v "$command" >/dev/null 2>&1 && return
  local sudo=""
  [ "$(id -u)" = 0 ] || sudo="sudo"
  $sudo apt-get update -qq
  $sudo apt-get install -y -qq --no-install-recommends "$@"
}

need cc build-essential
need strace strace
need python3 python3 python3-venv
need openssl openssl
need curl curl

echo "== format"
cargo fmt --check
echo "== lints"
cargo clippy --locked --all-targets -- -D warnings
echo "== tests"
cargo test --locked
