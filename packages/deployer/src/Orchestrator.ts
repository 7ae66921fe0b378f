/**
 * What the deployer asks of the world outside: start an instance of a version, signal one once, list them, follow one
 * to its end. Local processes are the first implementation (`orchestrators/local`).
 *
 * Guarantees: starting is idempotent by name, an instance once ended is never started again, and no instance is ever
 * sent a second drain signal, whatever crashes between. Leaves to the deployer whether to signal at all.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type {
  InstanceConflict,
  InstanceNotRunning,
  InstanceNotStarted,
  InvalidName,
  PlatformUnsupported,
  ReleasesUnreadable,
  SignalRefused,
  StateUnreadable,
  UnknownInstance,
  UnknownVersion
} from "./DeployError.ts"

/**
 * Where an instance is. `Exited` and `Vanished` are final.
 *
 * - `Starting`: asked for; no process is known yet. Asking again is harmless and takes it up.
 * - `Running`: the process lives.
 * - `Exiting`: the process is gone, its exit code is being written. Short, unless its wrapper is stopped.
 * - `Exited`: with this code. `signal` is there when the code is 128 + its number: whether the kernel ended the process
 *   or it did so itself in the shell's convention cannot be told apart, and means the same: it was killed.
 * - `Vanished`: gone, and nobody will ever know the code: its wrapper was killed, or the machine was started again.
 */
export type InstanceState = Data.TaggedEnum<{
  Starting: {}
  Running: { readonly pid: number; readonly startTime: number }
  Exiting: { readonly pid: number; readonly startTime: number }
  Exited: { readonly code: number; readonly signal?: NodeJS.Signals }
  Vanished: { readonly cause: "wrapper-lost" | "machine-restarted" }
}>
export const InstanceState = Data.taggedEnum<InstanceState>()

/** The states nothing comes after. */
export type InstanceEnd = Data.TaggedEnum.Value<InstanceState, "Exited" | "Vanished">

/**
 * How far the one drain signal of an instance got.
 *
 * The mark is synced to disk *before* the kill: a crash between the two must not lead to a second signal. So `intent`
 * says "may have been sent". It is resolved without a signal: the deployer reads the node's state, and if the node
 * still serves, sends it the same Drain by message, which is idempotent and does not count as a signal.
 */
export type Signalled = "no" | "intent" | "sent"

export interface Instance {
  readonly instance: string
  readonly version: string
  readonly state: InstanceState
  readonly signalled: Signalled
  /** Where its output goes: a path, here. */
  readonly log: string
}

export interface StartRequest {
  /** 1 to 64 letters, digits, `_` or `-`; made from rollout id and step, so that a repeated start finds what exists. */
  readonly instance: string
  readonly version: string
  /** Follows the version's own command. Visible to every user of the machine: no secrets. */
  readonly args?: ReadonlyArray<string>
  /** Over the version's own environment. Not stored. */
  readonly env?: Readonly<Record<string, string>>
}

/** `AlreadySignalled`: this call did nothing; the mark is somebody's before, perhaps of a process that crashed. */
export type SignalOutcome = Data.TaggedEnum<{
  Signalled: {}
  AlreadySignalled: { readonly signalled: "intent" | "sent" }
}>
export const SignalOutcome = Data.taggedEnum<SignalOutcome>()

export class Orchestrator extends Context.Service<
  Orchestrator,
  {
    /** Returns when the instance has a process, or at once what exists under that name, in whatever state. */
    readonly start: (
      request: StartRequest
    ) => Effect.Effect<
      Instance,
      | InvalidName
      | UnknownVersion
      | ReleasesUnreadable
      | InstanceConflict
      | InstanceNotStarted
      | StateUnreadable
      | PlatformUnsupported
    >
    /** The only drain signal this instance will ever get from here, by this process or any other. */
    readonly signalOnce: (
      instance: string,
      signal: "SIGTERM"
    ) => Effect.Effect<SignalOutcome, UnknownInstance | InstanceNotRunning | SignalRefused | StateUnreadable>
    /** SIGKILL, for force. Idempotent, and independent of the mark. False when there was nothing to kill. */
    readonly kill: (
      instance: string
    ) => Effect.Effect<boolean, UnknownInstance | SignalRefused | StateUnreadable>
    /** All that were ever started here and not removed, by name. */
    readonly list: Effect.Effect<ReadonlyArray<Instance>, StateUnreadable>
    /** Waits for the end, or returns it when it has come before. Works from any process at any later time. */
    readonly ended: (instance: string) => Effect.Effect<InstanceEnd, UnknownInstance | StateUnreadable>
  }
>()("@ebb/deployer/Orchestrator") {}
