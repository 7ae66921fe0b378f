/**
 * Every error the runtime answers with, in three kinds that a caller can act on without reading a message:
 *
 * - `retry: "safe"`     the message was not executed; sending it again, here or elsewhere, cannot do it twice;
 * - `retry: "never"`    the message was not executed, and the same message will be refused again;
 * - `retry: "unknown"`  the message may have been executed; only an idempotent message may be sent again.
 *
 * All of them travel: a node answers with one, and it arrives as the same class.
 */
import * as Schema from "effect/Schema"
import { Epoch, Id } from "./Address.ts"

const target = { kind: Schema.String, id: Schema.String }

/** Safe to retry: nobody of that name lives there (never born, or ended). Look it up again. */
export class NoSuchActor extends Schema.TaggedError<NoSuchActor>()("NoSuchActor", target) {
  readonly retry = "safe"
  override get message() {
    return `no ${this.kind} '${this.id}' lives there`
  }
}

/** Safe to retry: the target's user lane holds `capacity` messages. Slow down. */
export class MailboxFull extends Schema.TaggedError<MailboxFull>()("MailboxFull", {
  ...target,
  capacity: Schema.Int
}) {
  readonly retry = "safe"
  override get message() {
    return `the mailbox of ${this.kind} '${this.id}' is full (${this.capacity} messages)`
  }
}

/** Safe to retry elsewhere: the node takes nothing new, because it drains or is closed. */
export class NodeDraining extends Schema.TaggedError<NodeDraining>()("NodeDraining", { nodeId: Id }) {
  readonly retry = "safe"
  override get message() {
    return `node '${this.nodeId}' is draining and takes nothing new`
  }
}

/**
 * Safe to retry: the frame reached nobody. The process may be gone, or only reconnecting: this is no word about whether
 * the actor lives.
 */
export class NodeUnreachable extends Schema.TaggedError<NodeUnreachable>()("NodeUnreachable", {
  target: Schema.String,
  reason: Schema.String
}) {
  readonly retry = "safe"
  override get message() {
    return `${this.target} cannot be reached: ${this.reason}`
  }
}

/** Safe to retry after a new look-up: the message was meant for another epoch of this actor. */
export class StaleEpoch extends Schema.TaggedError<StaleEpoch>()("StaleEpoch", {
  ...target,
  current: Schema.optionalKey(Epoch)
}) {
  readonly retry = "safe"
  override get message() {
    return `${this.kind} '${this.id}' has another owner or another epoch by now`
  }
}

/** Never retry: the bytes or the payload do not decode. `problem` says where. */
export class MalformedMessage extends Schema.TaggedError<MalformedMessage>()("MalformedMessage", {
  problem: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `the message cannot be read: ${this.problem}`
  }
}

/** Never retry: the target does not know this message. It may be of another version. */
export class UnsupportedMessage extends Schema.TaggedError<UnsupportedMessage>()("UnsupportedMessage", {
  tag: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `the message '${this.tag}' is not known there; it may be of another version`
  }
}

/** Outcome unknown: no answer in time. */
export class AskTimeout extends Schema.TaggedError<AskTimeout>()("AskTimeout", {
  tag: Schema.String,
  timeoutMs: Schema.Number
}) {
  readonly retry = "unknown"
  override get message() {
    return `no answer to '${this.tag}' in ${this.timeoutMs} ms; it may have been done all the same`
  }
}

/** Outcome unknown: the actor crashed or was stopped while it handled the message. */
export class ActorCrashed extends Schema.TaggedError<ActorCrashed>()("ActorCrashed", {
  ...target,
  reason: Schema.String
}) {
  readonly retry = "unknown"
  override get message() {
    const who = this.kind === "" ? "the message was handled, and" : `${this.kind} '${this.id}'`
    return `${who} gave no answer to it: ${this.reason}`
  }
}

/** Everything an `ask` can fail with besides the errors of its contract. */
export const AskError = Schema.Union([
  NoSuchActor,
  MailboxFull,
  NodeDraining,
  NodeUnreachable,
  StaleEpoch,
  MalformedMessage,
  UnsupportedMessage,
  AskTimeout,
  ActorCrashed
])
export type AskError = typeof AskError.Type

/** Everything a `tell` can fail with: it knows only whether the message was taken, here, or reached the socket. */
export type TellError = NoSuchActor | MailboxFull | NodeUnreachable | StaleEpoch | MalformedMessage

/** A child of that kind and id lives already: ids are unique within their parent. Never retry. */
export class AlreadySpawned extends Schema.TaggedError<AlreadySpawned>()("AlreadySpawned", target) {
  readonly retry = "never"
  override get message() {
    return `${this.kind} '${this.id}' lives here already`
  }
}

/** Everything a `spawn` can fail with: also `MalformedMessage`, never to be retried, when kind or id is no id. */
export type SpawnError = NodeDraining | AlreadySpawned | MalformedMessage

/** A drain that cannot be taken back: `reason` says why. Never retry. */
export class UndrainRefused extends Schema.TaggedError<UndrainRefused>()("UndrainRefused", {
  nodeId: Id,
  reason: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `node '${this.nodeId}' cannot go back to serving: ${this.reason}`
  }
}

/** The registry cannot be reached now. A write that fails so may have been done: read it back. */
export class RegistryUnavailable extends Schema.TaggedError<RegistryUnavailable>()("RegistryUnavailable", {
  reason: Schema.String
}) {
  readonly retry = "unknown"
  override get message() {
    return `the registry cannot be reached: ${this.reason}`
  }
}

/** A compare-and-set lost: somebody else wrote the key. `by: "self"` cannot be excluded: read it back. */
export class KeyConflict extends Schema.TaggedError<KeyConflict>()("KeyConflict", { key: Schema.String }) {
  readonly retry = "never"
  override get message() {
    return `'${this.key}' was written by somebody else in the meantime`
  }
}

/** This process may not act for the cluster now: it could not renew its lease in time. Safe to retry elsewhere. */
export class NodeIsolated extends Schema.TaggedError<NodeIsolated>()("NodeIsolated", { nodeId: Id }) {
  readonly retry = "safe"
  override get message() {
    return `node '${this.nodeId}' is cut off from the registry and decides nothing until it is back`
  }
}

/** Not executed, safe to retry: no nats-server could be reached at the start. */
export class NatsUnavailable extends Schema.TaggedError<NatsUnavailable>()("NatsUnavailable", {
  servers: Schema.Array(Schema.String),
  reason: Schema.String
}) {
  readonly retry = "safe"
  override get message() {
    return `no connection to NATS at ${this.servers.join(", ")}: ${this.reason}`
  }
}

/**
 * Never retry as it is: what this process was given to reach NATS does not fit: credentials that the server refuses, a certificate that
 * one of the two does not trust, or a file that cannot be used. `problem` says what to change, and holds no secret.
 */
export class NatsRefused extends Schema.TaggedError<NatsRefused>()("NatsRefused", {
  servers: Schema.Array(Schema.String),
  problem: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `no connection to NATS at ${this.servers.join(", ")}: ${this.problem}`
  }
}

/** Never retry: the node id is held by another living process. Give this one another id. */
export class NodeIdHeld extends Schema.TaggedError<NodeIdHeld>()("NodeIdHeld", {
  nodeId: Id,
  incarnation: Id,
  host: Schema.String,
  pid: Schema.Int
}) {
  readonly retry = "never"
  override get message() {
    return `node id '${this.nodeId}' is held by process ${this.pid} on ${this.host} (incarnation ${this.incarnation})`
  }
}

/** Never retry: somebody who is not known to be dead owns that kind and id. `epoch` is the owner's. */
export class AlreadyOwned extends Schema.TaggedError<AlreadyOwned>()("AlreadyOwned", {
  ...target,
  owner: Schema.Struct({ node: Id, incarnation: Id }),
  epoch: Epoch
}) {
  readonly retry = "never"
  override get message() {
    return `${this.kind} '${this.id}' is owned by node '${this.owner.node}' (incarnation ${this.owner.incarnation})`
  }
}

/** Never retry: what this process owned was taken over while it was away. End it here, gently. */
export class Superseded extends Schema.TaggedError<Superseded>()("Superseded", {
  ...target,
  by: Schema.Struct({ node: Id, incarnation: Id })
}) {
  readonly retry = "never"
  override get message() {
    return `${this.kind} '${this.id}' was taken over by node '${this.by.node}' (incarnation ${this.by.incarnation})`
  }
}
