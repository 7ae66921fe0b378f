# Sourced by the scripts of set-up: how they speak, and how they run something that takes long.

# Everything goes to standard error: standard output belongs to the program that set-up is for.
say() {
  printf 'set-up: %s\n' "$*" >&2
}

# A signal ends the script when the command that runs has ended, and leaves nothing of the step behind.
step_log=
step_beat=
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'end_step || :' EXIT

end_step() {
  [ -z "$step_beat" ] || kill "$step_beat" 2>/dev/null || :
  [ -z "$step_log" ] || rm -f "$step_log"
  step_beat=
  step_log=
}

# step TITLE COMMAND...: runs the command with a line every ten seconds, and shows the end of its output if it fails.
#
# The command runs in the foreground, because the shell makes what it starts in the background deaf to Ctrl-C. It is the
# beat that runs in the background: it ends with the shell, however that ends, and never holds set-up's lock (9).
step() {
  step_title=$1
  shift
  say "$step_title"
  step_log=$(mktemp "${TMPDIR:-/tmp}/ebb-set-up-XXXXXX")
  beat "$$" 9>&- &
  step_beat=$!
  step_status=0
  "$@" >"$step_log" 2>&1 </dev/null || step_status=$?
  if [ "$step_status" -ne 0 ]; then
    tail -n 40 "$step_log" >&2
    say "that failed (exit $step_status): $*"
  fi
  end_step
  return "$step_status"
}

beat() {
  beat_seconds=0
  # Away from standard output, or a pipe behind set-up would wait for the last sleep.
  while sleep 1 >/dev/null 2>&1 && kill -0 "$1" 2>/dev/null; do
    beat_seconds=$((beat_seconds + 1))
    [ $((beat_seconds % 10)) -ne 0 ] || say "  ... $beat_seconds s"
  done
}
