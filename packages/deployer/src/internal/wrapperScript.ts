/**
 * The shell script that stands between a detached process and its starter, and writes down how it ended.
 *
 * A shell, because one stays for each node as long as it lives: 1 MB instead of Node's 40. It is copied into each
 * process's folder: a shell reads its script as it goes, so a script in use must never be replaced by a newer one.
 * What each file holds is said by the schemas in `detachedProcess`.
 */

/**
 * `sh wrapper.sh run FOLDER COMMAND ARGS...`, in a session of its own.
 *
 * - It may be run any number of times at once: one gets the lock, and only if no process was ever recorded.
 * - pid.json is written by the process itself before it becomes COMMAND (exec keeps pid and start time), so no crash
 *   leaves a running command that nobody knows. Until then it holds the lock too: should the wrapper be killed in
 *   between, another one must not start a second.
 * - Signals are *caught*, not ignored: what is caught is back to its default in COMMAND, what is ignored stays ignored.
 *   The command runs in the foreground, because a shell starts background commands with SIGINT ignored.
 * - Signals to the whole group reach COMMAND once, by the kernel; the wrapper lives on and forwards nothing.
 */
export const wrapperScript = `#!/bin/sh
set -u
mode=$1 folder=$2
shift 2

start_time() {
  read -r stat <"/proc/$1/stat"
  set -- \${stat##*) }
  echo "\${20}"
}

publish() {
  (umask 077 && cat >"$folder/$1.tmp") && sync "$folder/$1.tmp" && mv "$folder/$1.tmp" "$folder/$1" && sync "$folder"
}

case $mode in
run)
  trap : HUP INT QUIT TERM USR1 USR2
  exec 9>>"$folder/lock"
  flock -n 9 || exit 0
  [ ! -e "$folder/pid.json" ] || exit 0
  sh "$0" become "$folder" $$ "$(start_time $$)" "$@"
  code=$?
  printf '{"code":%d}\\n' "$code" | publish exit.json
  ;;
become)
  wrapper=$1 wrapper_start=$2
  shift 2
  read -r boot </proc/sys/kernel/random/boot_id
  printf '{"pid":%d,"startTime":%s,"bootId":"%s","wrapper":{"pid":%d,"startTime":%s}}\\n' \\
    $$ "$(start_time $$)" "$boot" "$wrapper" "$wrapper_start" | publish pid.json || exit 70
  exec "$@" 9>&-
  ;;
esac
`
