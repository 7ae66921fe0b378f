#!/bin/sh
# Runs the mediasoup worker in a session of its own, out of reach of a Ctrl-C and of a signal to the node's process
# group, to which the worker reacts by ending. Both execs keep the pid that mediasoup has seen: setsid forks only if its
# caller leads a process group, which a process that Node has spawned (not detached) does not.
exec setsid "$EBB_WORKER_BIN" "$@"
