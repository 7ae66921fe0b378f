/**
 * Frames that arrive from other processes, onto cells. Guarantees: each is answered, or counted as a dead letter, whatever is in
 * it; system messages go past the mailbox; the process is the one that the subject names, which NATS permissions have seen: who may send to one
 * actor of it may send to all. What waited while this process was paused is refused, but for what changes nothing.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import {
  ActorCrashed,
  AskError,
  MalformedMessage,
  NodeUnreachable,
  NoSuchActor,
  UndrainRefused,
  UnsupportedMessage
} from "../ActorError.ts"
import type { Id, Incarnation, Subjects } from "../Address.ts"
import { addressOfSubject } from "../Address.ts"
import type { FollowUp, Reply, Request } from "../Envelope.ts"
import { decodeRequest, encodeReply, maxFrameBytes } from "../Envelope.ts"
import { SystemProtocol } from "../SystemProtocol.ts"
import type { Frame } from "../Transport.ts"
import { Transport } from "../Transport.ts"
import type { Cell, CellHost } from "./cell.ts"
import { nameOf } from "./cell.ts"
import type { AnyStream, Failure, MessageCodec, Payload, Protocol, Success, Tag } from "./rpcSeam.ts"
import { codecOf } from "./rpcSeam.ts"
import { ServedStreams, streamIsGone } from "./servedStreams.ts"

/** A watcher that asks for longer is answered earlier, and asks again; what it left behind does not stay for ever. */
const watchHoldMaxMs = 60_000

const hadBeenPaused =
  "its process had been paused, or busy for seconds, and the message had waited for it to go on"

export type SystemMessage = typeof SystemProtocol extends Protocol<infer R> ? R : never

const systemHandlers: {
  readonly [T in Tag<SystemMessage>]: (
    cell: Cell,
    input: Payload<SystemMessage, T>,
    nodeId: Id
  ) => Effect.Effect<Success<SystemMessage, T>, Failure<SystemMessage, T>>
} = {
  Drain: (cell, input) => Effect.sync(() => cell.drain.begin(input, () => {})),
  Undrain: (cell, input, nodeId) =>
    Effect.suspend(() => {
      const reason = cell.drain.undrain(input)
      return reason === undefined ? Effect.void : Effect.fail(new UndrainRefused({ nodeId, reason }))
    }),
  Admit: (cell, input) => Effect.sync(() => ({ changed: cell.admit(input.admission, input) })),
  Progress: (cell) => Effect.sync(() => cell.drain.progress()),
  Stop: (cell, input) => Effect.sync(() => cell.end(input.kill ? "kill" : "parent", input.detail)),
  Watch: (cell, { holdMs }) => {
    const { life } = cell
    cell.isWatched = true
    return Deferred.await(cell.ended).pipe(
      Effect.map(({ by, detail }) => ({ terminated: { by, detail }, life })),
      Effect.timeoutOrElse({
        duration: Math.min(holdMs, watchHoldMaxMs),
        orElse: () => Effect.succeed({ life })
      })
    )
  }
}

type Watch = Payload<SystemMessage, "Watch">

/** One name may have had several lives: is it this cell's that is watched? */
const isMeant = (cell: Cell, { epoch, life }: Partial<Watch>): boolean =>
  (life === undefined || life === cell.life) && (epoch === undefined || !cell.isLaterThan(epoch))

/** Runs one system message, decoded, on the cell it names. */
export const handleSystem = (
  host: CellHost,
  nodeId: Id,
  tag: Tag<SystemMessage>,
  payload: Payload<SystemMessage, Tag<SystemMessage>>
): Effect.Effect<unknown, unknown> =>
  Effect.suspend((): Effect.Effect<unknown, unknown> => {
    const { id, kind } = payload
    const there = host.cells.get(nameOf(kind, id))
    const cell = there !== undefined && isMeant(there, payload) ? there : undefined
    if (cell === undefined && "life" in payload && payload.life !== undefined) {
      const { life } = payload
      const ended = host.endings.of(life)
      if (ended !== undefined && ended.address.kind === kind && ended.address.id === id)
        return Effect.succeed({ terminated: { by: ended.by, detail: ended.detail }, life })
    }
    // The table pairs each tag with its own payload; the compiler cannot follow that through one call.
    if (cell === undefined) {
      host.deadLetters.drop("noActor", { kind, id, tag })
      return Effect.fail(new NoSuchActor({ kind, id }))
    }
    return systemHandlers[tag](cell, payload as never, nodeId)
  })

/** Subscribes to everything that other processes send to actors of this one, until the scope closes. */
export const serveInbound = Effect.fnUntraced(function* (
  host: CellHost,
  options: { readonly subjects: Subjects; readonly nodeId: Id; readonly incarnation: Incarnation }
) {
  const transport = yield* Transport
  const run = Effect.runForkWith(host.context)

  const refuse = (frame: Frame, error: AskError) => {
    host.metrics.refused(error._tag)
    frame.respond?.(encodeReply({ _tag: "Refused", error }))
  }

  /** Its sender may have gone on without it since: the answer that is safe is that it reached nobody. */
  const refuseStale = (frame: Frame) => {
    host.deadLetters.drop("paused")
    refuse(frame, new NodeUnreachable({ target: `node '${options.nodeId}'`, reason: hadBeenPaused }))
  }

  const streams = new ServedStreams(host, replyOf)

  const onActorFrame = (frame: Frame) => {
    if (frame.stale) return refuseStale(frame)
    const request = decodeRequest(frame.data)
    const address = addressOfSubject(frame.subject)
    if (address === undefined) {
      host.deadLetters.drop("malformed")
      return refuse(frame, new MalformedMessage({ problem: "the subject names no actor" }))
    }
    const { id, kind } = address
    const cell = host.cells.get(nameOf(kind, id))
    if (Exit.isSuccess(request) && !("tag" in request.value))
      return onFollowUp(frame, address, cell, request.value)
    if (cell === undefined) {
      host.deadLetters.drop("noActor", { kind, id })
      return refuse(frame, new NoSuchActor({ kind, id }))
    }
    if (Exit.isFailure(request)) {
      host.deadLetters.drop("malformed", { kind, id })
      host.metrics.refused("MalformedMessage")
      return frame.respond?.(encodeReply(replyOf(undefined, request)))
    }
    onRequest(frame, cell, request.value as Request)
  }

  const onRequest = (frame: Frame, cell: Cell, request: Request) => {
    const { epoch, from, payload, remainingMs, tag, trace } = request
    const codec = codecOf(cell.protocol, tag)
    if (codec === undefined) {
      const { id, kind } = cell.address
      host.deadLetters.drop("unsupported", { kind, id, tag: tag.slice(0, 64) })
      return refuse(frame, new UnsupportedMessage({ tag: tag.slice(0, 64) }))
    }
    const respond = (exit: Exit.Exit<unknown, unknown>) => frame.respond?.(frameOf(replyOf(codec, exit)))
    cell.lane.deliver({
      codec,
      payload,
      isEncoded: true,
      deadline: remainingMs === undefined ? Number.POSITIVE_INFINITY : cell.nowMs() + remainingMs,
      reply: codec.streams
        ? (exit) => {
            if (Exit.isFailure(exit)) return respond(exit)
            const { credit, id: number, word } = request
            if (from === undefined || number === undefined || credit === undefined) {
              return refuse(
                frame,
                new MalformedMessage({ problem: `${tag} gives a stream: 'f', 'i' and 'c' are missing` })
              )
            }
            const asked: FollowUp = { from, id: number, word, credit }
            run(streams.begin(cell, codec, exit.value as AnyStream, asked)).addObserver((answer) =>
              Exit.isSuccess(answer) ? frame.respond?.(answer.value) : respond(answer)
            )
          }
        : respond,
      epoch,
      from,
      id: request.id,
      word: request.word,
      span: trace && Tracer.externalSpan(trace)
    })
  }

  const onFollowUp = (
    frame: Frame,
    { id, kind }: { readonly id: Id; readonly kind: string },
    cell: Cell | undefined,
    word: FollowUp
  ) => {
    if (word.credit === undefined) {
      if (!streams.cancel(`${kind}/${id}`, word)) cell?.lane.cancelFrom(word)
      return
    }
    const next = streams.next(`${kind}/${id}`, word)
    if (next === "again") return
    if (next === undefined) return refuse(frame, streamIsGone(kind, id))
    run(next).addObserver((answer) => {
      if (Exit.isSuccess(answer)) frame.respond?.(answer.value)
      else refuse(frame, streamIsGone(kind, id))
    })
  }

  const onSystemFrame = (frame: Frame) => {
    const request = decodeRequest(frame.data)
    if (Exit.isFailure(request)) {
      host.deadLetters.drop("malformed")
      host.metrics.refused("MalformedMessage")
      return frame.respond?.(encodeReply(replyOf(undefined, request)))
    }
    // No system message streams, and none of them waits: there is nothing to follow up.
    if (!("tag" in request.value)) return
    const { payload, tag } = request.value
    // To look changes nothing. And of an ending that is asked for again who ended it and why might be gone.
    if (frame.stale && tag !== "Watch" && tag !== "Progress") return refuseStale(frame)
    const codec = codecOf(SystemProtocol, tag)
    if (codec === undefined) {
      host.deadLetters.drop("unsupported", { tag: tag.slice(0, 64) })
      return refuse(frame, new UnsupportedMessage({ tag: tag.slice(0, 64) }))
    }
    const decoded = codec.decodePayload(payload)
    if (Exit.isFailure(decoded)) {
      host.deadLetters.drop("malformed", { tag })
      return frame.respond?.(encodeReply(replyOf(undefined, decoded)))
    }
    const handled = handleSystem(host, options.nodeId, tag as Tag<SystemMessage>, decoded.value as never)
    run(handled).addObserver((exit) => frame.respond?.(frameOf(replyOf(codec, exit))))
  }

  yield* transport.subscribe(options.subjects.actorsOf(options.incarnation), onActorFrame)
  yield* transport.subscribe(options.subjects.system(options.incarnation), onSystemFrame)
})

/** Never throws: this is called where a throw would end the process. What cannot be said, or not in one frame, is said so. */
const frameOf = (reply: Reply): Uint8Array => {
  try {
    const frame = encodeReply(reply)
    if (frame.length <= maxFrameBytes) return frame
    const error = new ActorCrashed({ kind: "", id: "", reason: `BUG: an answer of ${frame.length} bytes` })
    return encodeReply({ _tag: "Refused", error })
  } catch (defect) {
    return encodeReply(bug(Exit.die(defect)))
  }
}

const isAskError = Schema.is(AskError)

/** An exit as a frame says it. An error of the runtime is told apart from the contract's own by its class. */
const replyOf = (codec: MessageCodec | undefined, exit: Exit.Exit<unknown, unknown>): Reply => {
  if (Exit.isSuccess(exit)) {
    const encoded = codec?.encodeSuccess(exit.value) ?? exit
    return Exit.isSuccess(encoded) ? { _tag: "Success", value: encoded.value } : bug(encoded)
  }
  const error = Exit.findErrorOption(exit)
  if (error._tag === "None") return bug(exit)
  const encoded = codec?.encodeError(error.value)
  if (encoded !== undefined && Exit.isSuccess(encoded)) return { _tag: "Failure", error: encoded.value }
  return isAskError(error.value) ? { _tag: "Refused", error: error.value } : bug(exit)
}

// A handler answered what its contract does not allow: the work is done, but nobody can say what came out.
const bug = (exit: Exit.Exit<unknown, unknown>): Reply => ({
  _tag: "Refused",
  error: new ActorCrashed({
    kind: "",
    id: "",
    reason: `BUG: an answer outside the contract: ${String(exit).slice(0, 500)}`
  })
})
