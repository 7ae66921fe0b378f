/**
 * A control client: what a backend in TypeScript, the command line and the deployer use. Knows no node by name; sends again, by itself, what
 * is safe or idempotent to send again, until its time is over.
 */
import type { Failure, Id, Input, Success, Tag, TransportError } from "@ebb/actors"
import {
  ActorCrashed,
  AskTimeout,
  codecOf,
  MalformedMessage,
  NodeUnreachable,
  pack,
  subjects,
  Transport,
  unpack
} from "@ebb/actors"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import type { ControlError, ControlMessage, RoomSummary } from "./Control.ts"
import { ControlProtocol } from "./Control.ts"
import type { RecordingInfo } from "./Recording.ts"

export interface CallOptions {
  /** Milliseconds for one try. Default 5000. */
  readonly timeoutMs?: number
  /** Milliseconds for all tries. Default 30000; 0 sends once. */
  readonly retryForMs?: number
}

export interface ControlClient {
  readonly call: <T extends Tag<ControlMessage>>(
    command: T,
    input: Input<ControlMessage, T>,
    options?: CallOptions
  ) => Effect.Effect<Success<ControlMessage, T>, Failure<ControlMessage, T>>
  /** Every page of `room.list`: what was there all the while, and perhaps what came or went meanwhile. */
  readonly rooms: Effect.Effect<ReadonlyArray<RoomSummary>, ControlError>
  /** Every page of `recording.list`. */
  readonly recordings: Effect.Effect<ReadonlyArray<RecordingInfo>, ControlError>
}

/**
 * All commands may be sent twice: creates are idempotent by their id, and the others set a state or read it. Only these answer
 * differently the second time, with `NotFound`, which then says that it is done.
 */
const closing: ReadonlySet<Tag<ControlMessage>> = new Set([
  "room.close",
  "producer.close",
  "consumer.close",
  "webrtc.close",
  "webrtc.closeProducer"
] as const)

const isWorthRetrying = (error: ControlError): boolean => error.retry !== "never"

const pause = Schedule.jittered(Schedule.spaced("200 millis"))

/**
 * Milliseconds without an answer after which another node is asked as well, while the first is still listened to: it may be stopped, and
 * NATS would still give it every so many commands. Longer than a placement waits for one candidate: a node that lives is not
 * overtaken because it asked a stopped one, for what it does after the caller has its answer from elsewhere is done to nobody's wish.
 */
const askAnotherMs = 2500

/** A client of the cluster `cluster` on the connection of this process. */
export const makeControlClient = Effect.fnUntraced(function* (cluster: string) {
  const transport = yield* Transport
  const names = subjects(cluster)

  const once = (
    command: Tag<ControlMessage>,
    input: unknown,
    timeoutMs: number
  ): Effect.Effect<unknown, ControlError> => {
    const codec = codecOf(ControlProtocol, command)
    if (codec === undefined) return Effect.die(`no such command: ${command}`)
    return Effect.flatMap(codec.make(input), codec.encodePayload).pipe(
      Effect.flatMap((payload) =>
        transport
          .request(names.control(command), pack(payload ?? {}), { timeoutMs })
          .pipe(Effect.mapError((error) => asControlError(error, command, timeoutMs)))
      ),
      Effect.flatMap(unpack),
      Effect.flatMap((reply) => {
        if (Predicate.hasProperty(reply, "ok"))
          return codec.decodeSuccess(codec.givesNothing ? undefined : reply.ok)
        if (!Predicate.hasProperty(reply, "error")) {
          return Effect.fail(new MalformedMessage({ problem: "a reply has 'ok' or 'error'" }))
        }
        return codec.decodeError(reply.error).pipe(
          Effect.catch((problem) => Effect.succeed(unknownError(reply.error, command) ?? problem)),
          Effect.flatMap((error) => Effect.fail(error as ControlError))
        )
      })
    )
  }

  const tried = (
    command: Tag<ControlMessage>,
    input: unknown,
    timeoutMs: number,
    onAnother: () => void
  ): Effect.Effect<unknown, ControlError> =>
    Effect.suspend(() => {
      if (timeoutMs <= askAnotherMs) return once(command, input, timeoutMs)
      let anotherWasAsked = false
      const another = Effect.suspend(() => {
        anotherWasAsked = true
        onAnother()
        return tried(command, input, timeoutMs - askAnotherMs, onAnother)
      })
      return Effect.raceFirst(
        // What the other has begun goes on, whoever refuses now: its answer counts.
        Effect.catchIf(
          once(command, input, timeoutMs),
          (error) => anotherWasAsked && error.retry === "safe",
          () => Effect.never
        ),
        Effect.delay(another, askAnotherMs)
      )
    })

  /** Tries until it is done, refused for good, or the time is over. */
  const persist = (command: Tag<ControlMessage>, input: unknown, timeoutMs: number, retryForMs: number) =>
    Effect.suspend(() => {
      // Once it was sent with an outcome that nobody told, it may have been done.
      let maybeDone = false
      const isDone = (error: ControlError) => maybeDone && closing.has(command) && error._tag === "NotFound"
      return tried(command, input, timeoutMs, () => {
        maybeDone = true
      }).pipe(
        Effect.catchIf(isDone, () => Effect.void),
        Effect.tapError((error) =>
          Effect.sync(() => {
            maybeDone ||= error.retry === "unknown"
          })
        ),
        Effect.retry({
          schedule: Schedule.upTo(pause, { duration: retryForMs }),
          while: isWorthRetrying
        })
      )
    })

  const call = (command: Tag<ControlMessage>, input: unknown, options: CallOptions = {}) => {
    const { retryForMs = 30_000, timeoutMs = 5000 } = options
    return retryForMs === 0 ? once(command, input, timeoutMs) : persist(command, input, timeoutMs, retryForMs)
  }
  const client = { call } as Pick<ControlClient, "call">
  return {
    ...client,
    rooms: everyPage(
      (from) => client.call("room.list", from),
      ({ rooms }) => rooms
    ),
    recordings: everyPage(
      (from) => client.call("recording.list", from),
      ({ recordings }) => recordings
    )
  } satisfies ControlClient
})

const everyPage = Effect.fnUntraced(function* <Page extends { readonly next?: Id }, A>(
  ask: (from: { readonly after?: Id }) => Effect.Effect<Page, ControlError>,
  itemsOf: (page: Page) => ReadonlyArray<A>
) {
  const items: Array<A> = []
  let page = yield* ask({})
  items.push(...itemsOf(page))
  while (page.next !== undefined) {
    page = yield* ask({ after: page.next })
    items.push(...itemsOf(page))
  }
  return items
})

/** An error that only a later version knows, as one of the same kind. */
const unknownError = (error: unknown, command: string): ControlError | undefined => {
  if (!Predicate.hasProperty(error, "_tag") || !Predicate.hasProperty(error, "retry")) return undefined
  const reason = Predicate.hasProperty(error, "message") ? String(error.message) : String(error._tag)
  switch (error.retry) {
    case "safe":
      return new NodeUnreachable({ target: "the cluster", reason })
    case "never":
      return new MalformedMessage({ problem: reason })
    default:
      return new ActorCrashed({ kind: "control", id: command, reason })
  }
}

const asControlError = (error: TransportError, command: string, timeoutMs: number): ControlError => {
  switch (error.reason) {
    case "Timeout":
      return new AskTimeout({ tag: command, timeoutMs })
    case "NoListener":
      return new NodeUnreachable({ target: "the cluster", reason: "no node listens for control commands" })
    case "Disconnected":
      return new NodeUnreachable({ target: "the cluster", reason: "this process has no connection to NATS" })
    case "TooLarge":
      return new MalformedMessage({ problem: `${command} is larger than NATS takes` })
  }
}
