#!/bin/sh
# Set-up: everything a fresh Debian 12 with Node 20, npm and git needs to run Ebb and its tests. Every command of
# package.json that needs it runs it first, so nobody has to.
#
#   1. Debian packages, as root                 nats-server, ffmpeg, chromium, ...
#   2. the npm packages of the lock file        Node 24 is one of them, and first on PATH in `npm run`
#   3. the mediasoup worker                     downloaded, or built once per machine
#
# What holds:
# - A step that is done costs nothing: all three together take under a second.
# - A step may be cut off anywhere and run again. What it leaves half done is never taken for done.
# - Two at once do not meet: the second waits.
set -eu
cd "$(dirname "$0")/.."
. tools/step.sh

pnpm=12.21.0
cache=${EBB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ebb}

for command in node npm npx; do
  command -v "$command" >/dev/null || {
    say "$command is not there: Node 20 or later with npm is needed to begin with"
    exit 1
  }
done
sh tools/packages.sh flock=util-linux

# The lock is the cache's and not the checkout's, since checkouts share the worker. npm, pnpm and compilers inherit it: if
# this script alone is killed, the next one waits until they have ended too. apt does not, for it may start services that
# stay; it has a lock of its own.
mkdir -p "$cache"
exec 9>"$cache/set-up.lock"
flock -n 9 || step "waiting for another set-up to end" flock 9

sh tools/packages.sh nats-server=nats-server ffmpeg=ffmpeg python3=python3 chromium=chromium \
  faketime=faketime setsid=util-linux prometheus=prometheus 9>&-

# The stamp is written last and says what was installed.
stamp=node_modules/.ebb-installed
wanted="pnpm $pnpm on $(uname -sm), $(cat pnpm-lock.yaml pnpm-workspace.yaml package.json packages/*/package.json test/package.json test/bench/package.json | sha256sum)"
installed() {
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] || return
  for folder in . packages/* test test/bench; do
    [ -d "$folder/node_modules" ] || return
  done
}
# Exists while pnpm runs. If it is there before, that run was killed, and what it left cannot be told from what is whole.
installing=node_modules/.ebb-installing
if ! installed; then
  if [ -e "$installing" ]; then
    say "the last installation was cut off: beginning again with an empty node_modules"
    rm -rf packages/*/node_modules test/node_modules test/bench/node_modules node_modules
  fi
  mkdir -p node_modules
  rm -f "$stamp"
  : >"$installing"
  status=0
  step "installing npm packages (half a minute)" \
    npx --yes "pnpm@$pnpm" install --frozen-lockfile --config.confirm-modules-purge=false || status=$?
  rm -f "$installing"
  [ "$status" -eq 0 ] || exit 1
  printf '%s\n' "$wanted" >"$stamp"
fi

node=node_modules/.bin/node
[ -x "$node" ] || {
  say "the lock file has Node 24 for Linux on x64 and arm64 only, and this is $(uname -sm)"
  exit 1
}
"$node" tools/worker/install.ts
