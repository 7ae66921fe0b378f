/**
 * Every error of the deployer, with what a caller may do about it:
 *
 * - `retry: "safe"`     nothing was done; the same call may be made again;
 * - `retry: "never"`    nothing was done, and the same call will be refused again until a person changes something;
 * - `retry: "unknown"`  it may have been done; look at the state first. Starting an instance is idempotent by its name.
 *
 * Messages say what to do next: they are what `ebb` prints.
 */
import * as Schema from "effect/Schema"

/** Never retry: `value` cannot be the name of a cluster, an instance or a version. */
export class InvalidName extends Schema.TaggedError<InvalidName>()("InvalidName", {
  what: Schema.Literals(["cluster", "instance", "version"]),
  value: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `${JSON.stringify(this.value)} cannot name ${this.what === "instance" ? "an" : "a"} ${this.what}: use 1 to 64 letters, digits, _ or -`
  }
}

/** Never retry: the releases file does not name this version. */
export class UnknownVersion extends Schema.TaggedError<UnknownVersion>()("UnknownVersion", {
  version: Schema.String,
  known: Schema.Array(Schema.String),
  similar: Schema.Array(Schema.String),
  file: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    const hint = this.similar.length > 0 ? `Did you mean ${this.similar.join(" or ")}? ` : ""
    const known = this.known.length > 0 ? `It knows ${this.known.join(", ")}.` : "It names no version yet."
    return `there is no version ${JSON.stringify(this.version)} in ${this.file}. ${hint}${known}`
  }
}

/** Never retry: the releases file is missing, or is not what it should be. */
export class ReleasesUnreadable extends Schema.TaggedError<ReleasesUnreadable>()("ReleasesUnreadable", {
  file: Schema.String,
  problem: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `the releases file ${this.file} cannot be used: ${this.problem}. It looks like {"versions": {"v1": {"command": ["ebb-node"]}}}`
  }
}

/** Never retry: no instance of that name was ever started here. */
export class UnknownInstance extends Schema.TaggedError<UnknownInstance>()("UnknownInstance", {
  instance: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `no instance ${this.instance} was ever started here`
  }
}

/** Never retry: the name belongs to an instance of another version. Names are used once. */
export class InstanceConflict extends Schema.TaggedError<InstanceConflict>()("InstanceConflict", {
  instance: Schema.String,
  existing: Schema.String,
  asked: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `instance ${this.instance} is of version ${this.existing} and cannot be started as ${this.asked}: take another name`
  }
}

/** Outcome unknown: no process was seen in time. Starting the same name again is harmless. */
export class InstanceNotStarted extends Schema.TaggedError<InstanceNotStarted>()("InstanceNotStarted", {
  instance: Schema.String,
  problem: Schema.String,
  log: Schema.String
}) {
  readonly retry = "unknown"
  override get message() {
    return `instance ${this.instance} did not start: ${this.problem}. Its output is in ${this.log}`
  }
}

/** Never retry: nothing to signal, because the instance is not running. No mark was made. */
export class InstanceNotRunning extends Schema.TaggedError<InstanceNotRunning>()("InstanceNotRunning", {
  instance: Schema.String,
  state: Schema.Literals(["Starting", "Exiting", "Exited", "Vanished"])
}) {
  readonly retry = "never"
  override get message() {
    return `instance ${this.instance} is not running (${this.state}), so it was not signalled`
  }
}

/** Outcome unknown: the kernel refused the signal for another reason than the process being gone. */
export class SignalRefused extends Schema.TaggedError<SignalRefused>()("SignalRefused", {
  pid: Schema.Int,
  signal: Schema.String,
  code: Schema.String
}) {
  readonly retry = "unknown"
  override get message() {
    const hint = this.code === "EPERM" ? ". It belongs to another user: run the command as that user" : ""
    return `process ${this.pid} could not be sent ${this.signal} (${this.code})${hint}`
  }
}

/** Outcome unknown: a state file cannot be read or written, or holds what no Ebb wrote. */
export class StateUnreadable extends Schema.TaggedError<StateUnreadable>()("StateUnreadable", {
  path: Schema.String,
  problem: Schema.String
}) {
  readonly retry = "unknown"
  override get message() {
    return `${this.path}: ${this.problem}`
  }
}

/** Never retry: the machine lacks what local instances need. */
export class PlatformUnsupported extends Schema.TaggedError<PlatformUnsupported>()("PlatformUnsupported", {
  missing: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `local instances need Linux with /proc and util-linux; ${this.missing} is missing`
  }
}

/** Never retry: the folder holds no cluster. */
export class ClusterNotFound extends Schema.TaggedError<ClusterNotFound>()("ClusterNotFound", {
  folder: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `there is no cluster in ${this.folder}: start one with \`ebb up\`, or name its folder with --state or EBB_STATE`
  }
}

/** Never retry: the folder holds a cluster of another name. */
export class ClusterMismatch extends Schema.TaggedError<ClusterMismatch>()("ClusterMismatch", {
  folder: Schema.String,
  existing: Schema.String,
  asked: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `${this.folder} belongs to the cluster ${this.existing}, not to ${this.asked}: name another folder with --state`
  }
}

/** Safe to retry, once that process has ended: another `ebb up` owns this cluster. */
export class ClusterClaimed extends Schema.TaggedError<ClusterClaimed>()("ClusterClaimed", {
  folder: Schema.String,
  pid: Schema.optionalKey(Schema.Int)
}) {
  readonly retry = "safe"
  override get message() {
    const who = this.pid === undefined ? "another process" : `process ${this.pid}`
    return `${who} already runs the cluster in ${this.folder}: use that one, or name another folder with --state`
  }
}

/** Never retry: the program nats-server was not found. */
export class NatsServerMissing extends Schema.TaggedError<NatsServerMissing>()("NatsServerMissing", {
  program: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `the program ${this.program} was not found: install it with \`apt-get install nats-server\``
  }
}

/** Outcome unknown: the nats-server ended, or was not ready in time. */
export class NatsServerFailed extends Schema.TaggedError<NatsServerFailed>()("NatsServerFailed", {
  problem: Schema.String,
  log: Schema.String
}) {
  readonly retry = "unknown"
  override get message() {
    return `nats-server ${this.problem}. Its output is in ${this.log}`
  }
}

/** Never retry as it is: another rollout is not finished. */
export class RolloutOpen extends Schema.TaggedError<RolloutOpen>()("RolloutOpen", {
  rollout: Schema.String,
  to: Schema.String,
  asked: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `rollout ${this.rollout} to ${this.to} is not finished, so none to ${this.asked} can begin: go on with it by \`ebb rollout --to ${this.to}\``
  }
}

/** Safe to retry, once that process has ended: it runs the cluster's rollout. */
export class RolloutRunning extends Schema.TaggedError<RolloutRunning>()("RolloutRunning", {
  folder: Schema.String,
  pid: Schema.optionalKey(Schema.Int)
}) {
  readonly retry = "safe"
  override get message() {
    const who = this.pid === undefined ? "another process" : `process ${this.pid}`
    return `${who} is rolling this cluster already: wait for it, or end it with Ctrl-C and run this again`
  }
}

/** Never retry: another deployer process went on with this rollout. This one has done nothing since. */
export class RolloutTakenOver extends Schema.TaggedError<RolloutTakenOver>()("RolloutTakenOver", {
  by: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `another deployer (${this.by}) goes on with this rollout: follow it there`
  }
}

/** Never retry: there is nothing to replace. */
export class NothingToReplace extends Schema.TaggedError<NothingToReplace>()("NothingToReplace", {}) {
  readonly retry = "never"
  override get message() {
    return "no node runs here, so there is nothing to replace: start some with `ebb up`"
  }
}

/** Never retry: a later version of Ebb has written to the rollout's log. */
export class RolloutLogUnreadable extends Schema.TaggedError<RolloutLogUnreadable>()("RolloutLogUnreadable", {
  sequence: Schema.Int,
  problem: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `the rollout's log cannot be followed at ${this.sequence}: ${this.problem}. Use the \`ebb\` that started this rollout`
  }
}

/** Safe to retry, once it answers: the cluster's nats-server has no process, or one (`pid`) that does not answer. */
export class ClusterDown extends Schema.TaggedError<ClusterDown>()("ClusterDown", {
  folder: Schema.String,
  problem: Schema.String,
  pid: Schema.optionalKey(Schema.Int),
  log: Schema.optionalKey(Schema.String)
}) {
  readonly retry = "safe"
  override get message() {
    return this.pid === undefined
      ? `the cluster in ${this.folder} is not running (${this.problem}): start it with \`ebb up\``
      : `the nats-server of the cluster in ${this.folder} lives, as process ${this.pid}, and cannot be used (${this.problem}): if it is stopped, \`kill -CONT ${this.pid}\` lets it go on. Its log is ${this.log}`
  }
}

/** Never retry as it is: the rollout would cut what is listed, and nobody has agreed to it. */
export class ForceUnconfirmed extends Schema.TaggedError<ForceUnconfirmed>()("ForceUnconfirmed", {
  mode: Schema.Literals(["evacuate", "kill"]),
  rooms: Schema.Int,
  recordings: Schema.Int
}) {
  readonly retry = "never"
  override get message() {
    return `--force ${this.mode} would end ${this.rooms} rooms and seal ${this.recordings} recordings early: say --yes to do it`
  }
}

/** Never retry: a recording is deleted only with --yes. */
export class DeletionUnconfirmed extends Schema.TaggedError<DeletionUnconfirmed>()("DeletionUnconfirmed", {
  recordingId: Schema.String,
  bytes: Schema.Finite,
  file: Schema.optionalKey(Schema.String)
}) {
  readonly retry = "never"
  override get message() {
    const what = this.file === undefined ? "" : `, ${this.bytes} bytes at ${this.file},`
    return `recording '${this.recordingId}'${what} and its journals would be deleted for good: say --yes to do it`
  }
}

/** Never retry: several versions are known, and none was named. */
export class VersionUnspecified extends Schema.TaggedError<VersionUnspecified>()("VersionUnspecified", {
  known: Schema.Array(Schema.String),
  file: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `say which version to start with --version: ${this.file} knows ${this.known.join(", ") || "none"}`
  }
}

/** Never retry as it is: there is no file to play, yet or at all. */
export class NoResult extends Schema.TaggedError<NoResult>()("NoResult", {
  recordingId: Schema.String,
  state: Schema.String,
  problem: Schema.optionalKey(Schema.String)
}) {
  readonly retry = "never"
  override get message() {
    const name = `recording '${this.recordingId}'`
    switch (this.state) {
      case "Capturing":
        return `${name} is still captured: it has a file once it was stopped (recording.stop, or its room's end) and computed`
      case "Sealing":
        return `${name} is being computed: \`ebb recordings --watch\` says how far it is`
      case "Computed":
        return `${name} is computed, and there is no frame in it: there is nothing to play`
      case "Deleted":
        return `${name} was deleted: \`ebb recordings audit\` says by whom, when and why`
      default:
        return `${name} is ${this.state} and has no file: ${this.problem ?? "its node's log says why"}`
    }
  }
}

/** Its owner is not heard: a node that was killed is known to be dead after its lease, and then the index speaks for it. */
export class RecordingSilent extends Schema.TaggedError<RecordingSilent>()("RecordingSilent", {
  recordingId: Schema.String,
  problem: Schema.String
}) {
  readonly retry = "safe"
  override get message() {
    return `recording '${this.recordingId}' does not answer: its node may have just been killed, then ask again in 18 s (\`ebb nodes\` says when each was heard): ${this.problem}`
  }
}

/** Never retry as it is: the file is not on this machine. */
export class ResultElsewhere extends Schema.TaggedError<ResultElsewhere>()("ResultElsewhere", {
  recordingId: Schema.String,
  file: Schema.String,
  nodeId: Schema.String,
  /** Of the node, while it lives. */
  host: Schema.optionalKey(Schema.String)
}) {
  readonly retry = "never"
  override get message() {
    if (/^[a-z0-9]+:\/\//.test(this.file)) {
      return `recording '${this.recordingId}' is in an object store: fetch ${this.file} with a client of it`
    }
    const where = this.host === undefined ? "" : ` (host ${this.host})`
    return `recording '${this.recordingId}' is not on this machine: node '${this.nodeId}'${where} has stored it as ${this.file}`
  }
}
