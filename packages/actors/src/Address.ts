/**
 * Names of things on the wire: ids, incarnations, addresses, epochs, and the NATS subjects made of them.
 *
 * Owns the alphabet of ids (`[A-Za-z0-9_-]{1,64}`, the same in subjects, keys and file names) and the shape of subjects.
 * A subject carries role and incarnation, so that NATS permissions can tell control clients, nodes and system messages
 * apart. Leaves to `Envelope` what is inside a frame.
 */
import * as Schema from "effect/Schema"

/** An id as it may appear in a subject, a key or a file name: 1 to 64 of letters, digits, `_` and `-`. */
export const Id = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9_-]{1,64}$/, { message: "an id is 1 to 64 letters, digits, _ or -" })
)
export type Id = typeof Id.Type

/** True when `text` is an id. For doors where a Schema would be too slow: subjects of arriving frames. */
export const isId = (text: unknown): text is Id => typeof text === "string" && idPattern.test(text)
const idPattern = /^[A-Za-z0-9_-]{1,64}$/

/** One life of one process: a random id made at its start. Whatever restarts has another. */
export type Incarnation = Id

/** 96 random bits in base64url: 16 characters, an `Id`. */
export const makeIncarnation = (): Incarnation =>
  Buffer.from(crypto.getRandomValues(new Uint8Array(12))).toString("base64url")

/** Where one actor lives: its kind, its id, and the incarnation of the process that holds it. */
export interface Address {
  readonly kind: string
  readonly id: Id
  readonly incarnation: Incarnation
}

export const formatAddress = (address: Address): string =>
  `${address.kind}/${address.id}@${address.incarnation}`

/**
 * A fencing epoch: which registry gave it, and the revision it gave. Epochs of one registry are ordered by revision;
 * epochs of two registries are not comparable, because a registry that lost its store counts from one again.
 */
export const Epoch = Schema.Struct({ registry: Id, revision: Schema.Int })
export type Epoch = typeof Epoch.Type

/** The version in every subject. A wire that cannot be read by the version before it gets another number. */
export const wireVersion = "v1"

/** Subjects of one cluster; `cluster` is an `Id`. */
export const subjects = (cluster: Id) => {
  const root = `ebb.${wireVersion}.${cluster}`
  return {
    /** Messages to one actor. */
    actor: (to: Address) => `${root}.a.${to.kind}.${to.id}.${to.incarnation}`,
    /** All actors of one process: it subscribes once, whatever number it holds. On NATS also to `….b.<incarnation>` (`nats/sharedFrames`). */
    actorsOf: (incarnation: Incarnation) => `${root}.a.*.*.${incarnation}`,
    /** System messages (Drain, Undrain, Admit, Stop, Watch) to actors of one process. */
    system: (incarnation: Incarnation) => `${root}.sys.${incarnation}`,
    /** A control command from a client of any language; any live node answers. */
    control: (command: string) => `${root}.ctl.${command}`,
    controlAll: `${root}.ctl.>`
  }
}
export type Subjects = ReturnType<typeof subjects>

/** Reads an actor's address out of a subject that `subjects(...).actor` made; undefined for any other. */
export const addressOfSubject = (subject: string): Address | undefined => {
  const [, , , role, kind, id, incarnation, ...rest] = subject.split(".")
  return role === "a" && rest.length === 0 && isId(kind) && isId(id) && isId(incarnation)
    ? { kind, id, incarnation }
    : undefined
}
