/**
 * Frames that arrive from other processes, onto cells. Guarantees: each is answered, or counted as a dead letter, whatever is in
 * it; system messages go past the mailbox; the process is the one that the subject names, which NATS permissions have seen: who may send to one
 * actor of it may send to all. What waited while this process was paused is refused, but for what changes nothing.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import {
  type AskError,
  MalformedMessage,
  NodeUnreachable,
  NoSuchActor,
  UnsupportedMessage
} from "../ActorError.ts"
import type { Id, Incarnation, Subjects } from "../Address.ts"
import { addressOfSubject } from "../Address.ts"
import type { FollowUp, Request } from "../Envelope.ts"
import { decodeRequest, encodeReply } from "../Envelope.ts"
import { SystemProtocol } from "../SystemProtocol.ts"
import type { Frame } from "../Transport.ts"
import { Transport } from "../Transport.ts"
import type { Cell } from "./cell.ts"
import { type CellHost, nameOf } from "./cellHost.ts"
import { frameOf, type Owner, replyOf } from "./replies.ts"
import type { AnyStream, Payload, Tag } from "./rpcSeam.ts"
import { codecOf } from "./rpcSeam.ts"
import { ServedStreams, streamIsGone } from "./servedStreams.ts"
import { handleSystem, type SystemMessage } from "./systemMessages.ts"

const hadBeenPaused =
  "its process had been paused, or busy for seconds, and the message had waited for it to go on"

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

  const refuseUnread = (frame: Frame, exit: Exit.Exit<unknown, MalformedMessage>) => {
    const error = Exit.findErrorOption(exit)
    if (Option.isSome(error)) refuse(frame, error.value)
  }

  /** Its sender may have gone on without it since: the answer that is safe is that it reached nobody. */
  const refuseStale = (frame: Frame) => {
    host.deadLetters.drop("paused")
    refuse(frame, new NodeUnreachable({ target: `node '${options.nodeId}'`, reason: hadBeenPaused }))
  }

  const streams = new ServedStreams(host)

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
      return refuseUnread(frame, request)
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
    const respond = (exit: Exit.Exit<unknown, unknown>) =>
      frame.respond?.(frameOf(cell, codec, replyOf(cell, codec, exit)))
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
    if (next === undefined) {
      host.deadLetters.drop("noStream", { kind, id })
      return refuse(frame, streamIsGone(kind, id))
    }
    run(next).addObserver((answer) => {
      if (Exit.isSuccess(answer)) frame.respond?.(answer.value)
      else refuse(frame, streamIsGone(kind, id))
    })
  }

  const onSystemFrame = (frame: Frame) => {
    const request = decodeRequest(frame.data)
    if (Exit.isFailure(request)) {
      host.deadLetters.drop("malformed")
      return refuseUnread(frame, request)
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
      return refuseUnread(frame, decoded)
    }
    const target = decoded.value as Payload<SystemMessage, Tag<SystemMessage>>
    const owner: Owner = host.cells.get(nameOf(target.kind, target.id)) ?? { address: target, bug: () => {} }
    run(handleSystem(host, options.nodeId, tag as Tag<SystemMessage>, target)).addObserver((exit) =>
      frame.respond?.(frameOf(owner, codec, replyOf(owner, codec, exit)))
    )
  }

  yield* transport.subscribe(options.subjects.actorsOf(options.incarnation), onActorFrame)
  yield* transport.subscribe(options.subjects.system(options.incarnation), onSystemFrame)
})
