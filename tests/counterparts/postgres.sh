#!/usr/bin/env bash
# A throw-away PostgreSQL on loopback: postgres.sh FOLDER PORT [durable]
#
# FOLDER must not exist. Prints `ready` and then obeys lines of its standard input: `stop` (as a crash: without a
# checkpoint), `start`; each is answered by `stopped` or `started`. At the end of the input everything is removed, so the
# server ends with whoever started it, however that ends. TLS is on, and nothing needs it: the authority's certificate is
# FOLDER/ca.crt, the server's names `localhost` and not 127.0.0.1. Nothing is synced: a crash of the machine is not
# what it is for. With `durable` it syncs as a server in production does, and has more memory: for benches.
set -euo pipefail
folder=$1 port=$2 kind=${3:-fleeting}

case $kind in
  fleeting) durability="-c fsync=off -c full_page_writes=off -c shared_buffers=32MB" ;;
  durable) durability="-c fsync=on -c full_page_writes=on -c synchronous_commit=on -c shared_buffers=256MB" ;;
  *) echo "the third word may only be: durable" >&2; exit 2 ;;
esac

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1 || true)
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb)") || { echo "PostgreSQL is not installed (apt-get install postgresql)" >&2; exit 1; }

# PostgreSQL refuses to run as root.
own() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --init-groups "$@"; else "$@"; fi; }

mkdir -p "$folder"
cd "$folder"
exec 2>"$folder/log.setup"
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj "/CN=counterpart authority" \
  -addext "basicConstraints=critical,CA:TRUE"
openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj "/CN=localhost"
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 \
  -extfile <(printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n')
chmod 600 server.key
chmod 755 "$folder"
if [ "$(id -u)" = 0 ]; then chown -R postgres "$folder"; fi

own "$bin/initdb" -D "$folder/data" -U app -A trust -E UTF8 --locale=C.UTF-8 --no-sync --no-instructions >/dev/null

start() {
  own "$bin/pg_ctl" -D "$folder/data" -w -s -l "$folder/log" -o "-c listen_addresses=127.0.0.1 -p $port -k $folder \
    $durability -c max_connections=200 -c deadlock_timeout=200ms \
    -c ssl=on -c ssl_cert_file=$folder/server.crt -c ssl_key_file=$folder/server.key" start
}
stop() { own "$bin/pg_ctl" -D "$folder/data" -w -s -m immediate stop; }
trap 'stop || true; cd /; rm -rf "$folder"' EXIT

start
echo ready
while read -r line; do
  case $line in
    stop) stop; echo stopped ;;
    start) start; echo started ;;
  esac
done
