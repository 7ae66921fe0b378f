#!/bin/sh
# Runs the mediasoup worker in a session of its own, out of reach of a Ctrl-C and of a signal to the node's process
# group, to which the worker reacts by ending. Both execs keep the pid that mediasoup has seen: setsid forks only if its
# caller leads a process group, which a process that Node has spawned (not detached) does not.
# It parses what strangers send: keys and passwords of the node are none of its business.
worker=$EBB_WORKER_BIN
for name in $(env | sed -n 's/^\(\(EBB\|AWS\)_[A-Za-z0-9_]*\)=.*/\1/p'); do unset "$name"; done
exec setsid "$worker" "$@"
