/** Frames between processes: requests, words about them, replies, and every error of the runtime in one. */
import * as Effect from "effect/Effect"
import * as current from "../../../packages/actors/src/Envelope.ts"
import * as sharedFrames from "../../../packages/actors/src/nats/sharedFrames.ts"
import type { FollowUp, Reply, Request } from "../../../packages/actors/src/Envelope.ts"
import type { Build } from "./Build.ts"
import type { Plain, Row } from "./Golden.ts"
import { errors } from "./messages.ts"
import { packed, unpacked } from "./packed.ts"

type Frames = Readonly<Record<string, unknown>>

const trace = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", sampled: true }
const requests: Readonly<Record<string, Request>> = {
  "a tell": { tag: "Close", payload: { reason: "over" } },
  "an ask": {
    tag: "Close",
    payload: {},
    remainingMs: 5000,
    epoch: { registry: "reg", revision: 7 },
    from: "inc"
  }
}
const laterRequests: Readonly<Record<string, Request>> = {
  "a numbered ask with a span": { tag: "Get", payload: null, remainingMs: 5000, from: "inc", id: 7, trace },
  "an ask for a stream": { tag: "Follow", payload: {}, remainingMs: 5000, from: "inc", id: 7, credit: 256 },
  "an ask with a word": { tag: "Get", payload: null, remainingMs: 5000, from: "inc", id: 7, word: "random" }
}
const laterWords: Readonly<Record<string, FollowUp>> = {
  "the next items": { from: "inc", id: 7, credit: 64, remainingMs: 10_000 },
  "taken back": { from: "inc", id: 7 },
  "the next items, with its word": { from: "inc", id: 7, word: "random", credit: 64, remainingMs: 10_000 },
  "taken back, with its word": { from: "inc", id: 7, word: "random" }
}
const replies: Readonly<Record<string, Reply>> = {
  success: { _tag: "Success", value: { changed: true } },
  "success without a value": { _tag: "Success", value: undefined },
  "a failure of the contract": { _tag: "Failure", error: { _tag: "NotFound", entity: "room", id: "r1" } }
}
const laterReplies: Readonly<Record<string, Reply>> = {
  items: { _tag: "Batch", items: [1, "a"] },
  "the last items": { _tag: "Batch", items: [], end: { _tag: "Success", value: undefined } },
  "a failed stream": { _tag: "Batch", items: [], end: { _tag: "Failure", error: { _tag: "Broken" } } }
}

const frames = (
  table: Frames,
  encode: (envelope: Build["envelope"], value: never) => Uint8Array,
  decode: "decodeRequest" | "decodeReply",
  since: Pick<Row, "after" | "isNewKind"> = {}
): ReadonlyArray<Row> =>
  Object.entries(table).map(([name, value]): Row => ({
    fixture: "envelope",
    name,
    plain: plainOf(encode, value),
    ...since,
    encode: ({ envelope }) => Effect.sync(() => encode(envelope, value as never)),
    decode: ({ envelope }, bytes) => envelope[decode](bytes),
    write: packed
  }))

// What a frame is made of is the envelope's own business: its plain form is what this build writes.
const plainOf = (encode: (envelope: Build["envelope"], value: never) => Uint8Array, value: unknown): Plain =>
  Effect.runSync(unpacked(encode(current, value as never))) as Plain

const grown = { after: "0.1.0" }
const newKind = { after: "0.1.0", isNewKind: true }

export const envelopeRows: ReadonlyArray<Row> = [
  ...frames(requests, (of, value: Request) => of.encodeRequest(value), "decodeRequest"),
  ...frames(laterRequests, (of, value: Request) => of.encodeRequest(value), "decodeRequest", grown),
  ...frames(laterWords, (of, value: FollowUp) => of.encodeFollowUp(value), "decodeRequest", newKind),
  ...frames(replies, (of, value: Reply) => of.encodeReply(value), "decodeReply"),
  ...frames(laterReplies, (of, value: Reply) => of.encodeReply(value), "decodeReply", newKind)
]

/** Several messages or answers in one frame. No map is in them: their list says how many there are. */
const shared = (name: string, write: (of: NonNullable<Build["sharedFrames"]>) => Uint8Array): Row => {
  const encode = ({ sharedFrames }: Build) => Effect.sync(() => sharedFrames && write(sharedFrames))
  return {
    fixture: "envelope",
    name,
    plain: null,
    ...newKind,
    encode,
    decode: ({ sharedFrames }, bytes) =>
      Effect.sync(() => sharedFrames?.[name.includes("answers") ? "decodeAnswers" : "decodeMessages"](bytes)),
    write: () => write(sharedFrames)
  }
}

const messages = [
  { target: "room.r1", wantsAnswer: true, data: Uint8Array.of(0x80) },
  { target: "room.r2", wantsAnswer: false, data: Uint8Array.of(0x81, 0xa1) }
]
const answers = [
  { at: 1, data: Uint8Array.of(0xc0) },
  { at: 300, data: Uint8Array.of(0x80) }
]
export const sharedRows: ReadonlyArray<Row> = [
  shared("shared messages", (of) => of.encodeMessages(messages)),
  shared("whether shared messages are taken", (of) => of.encodeMessages([])),
  shared("shared answers", (of) => of.encodeAnswers(answers))
]

/** The errors of the runtime, which are no contract's. */
export const askErrorTags = (build: Build): ReadonlyArray<string> =>
  build.actors.AskError.members.map(({ identifier }) => identifier)

export const askErrorRows = (build: Build): ReadonlyArray<Row> =>
  askErrorTags(build).flatMap((tag) =>
    (errors[tag] ?? []).slice(0, 1).map((fields): Row => {
      const plain = { a: { _tag: tag, ...fields } }
      return {
        fixture: "envelope",
        name: `refused: ${tag}`,
        plain,
        encode: ({ envelope }) =>
          Effect.map(envelope.decodeReply(packed(plain)), (reply) => envelope.encodeReply(reply)),
        decode: ({ envelope }, bytes) => envelope.decodeReply(bytes),
        write: packed
      }
    })
  )
