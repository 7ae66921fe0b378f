import { expect, it } from "@effect/vitest"
import * as Exit from "effect/Exit"
import * as fc from "fast-check"
import { ActorCrashed, AskTimeout, MailboxFull, NodeDraining } from "../src/index.ts"
import type { FollowUp, Reply, Request } from "../src/Envelope.ts"
import {
  decodeReply,
  decodeRequest,
  encodeFollowUp,
  encodeReply,
  encodeRequest,
  unpack
} from "../src/Envelope.ts"

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
const bytes = (text: string) => new Uint8Array(Buffer.from(text, "hex"))

// Golden bytes: what version 1 looks like on the wire. They may never change; a new field is a new row.
const requests: ReadonlyArray<readonly [string, Request, string]> = [
  ["a tell", { tag: "Close", payload: { reason: "x" } }, "82a16da5436c6f7365a17081a6726561736f6ea178"],
  [
    "an ask",
    {
      tag: "Add",
      payload: { by: 2 },
      remainingMs: 5000,
      epoch: { registry: "reg", revision: 7 },
      from: "inc"
    },
    "85a16da3416464a17081a2627902a164cd1388a16592a372656707a166a3696e63"
  ],
  [
    "a stream is asked for, by an asker with a span",
    {
      tag: "Follow",
      payload: {},
      remainingMs: 5000,
      from: "inc",
      id: 7,
      trace: { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", sampled: true },
      credit: 256
    },
    "87a16da6466f6c6c6f77a17080a164cd1388a166a3696e63a16907a17493d9203061663736353139313663643433646438343438656232313163383033313963b062376164366237313639323033333331c3a163cd0100"
  ]
]
const followUps: ReadonlyArray<readonly [string, FollowUp, string]> = [
  [
    "the next items",
    { from: "inc", id: 7, credit: 64, remainingMs: 10_000 },
    "84a166a3696e63a16907a164cd2710a16340"
  ],
  ["it is taken back", { from: "inc", id: 7 }, "83a166a3696e63a16907a178c3"],
  [
    "it is taken back, by the word it was sent with",
    { from: "inc", id: 7, word: "random" },
    "84a166a3696e63a16907a177a672616e646f6da178c3"
  ]
]
const replies: ReadonlyArray<readonly [string, Reply, string]> = [
  ["success", { _tag: "Success", value: { changed: true } }, "81a17381a76368616e676564c3"],
  ["success without a value", { _tag: "Success", value: undefined }, "81a173c0"],
  [
    "a contract's failure",
    { _tag: "Failure", error: { _tag: "TooMuch" } },
    "81a16681a45f746167a7546f6f4d756368"
  ],
  [
    "an error of the runtime",
    { _tag: "Refused", error: new NodeDraining({ nodeId: "n" }) },
    "81a16182a45f746167ac4e6f6465447261696e696e67a66e6f64654964a16e"
  ],
  ["items of a stream", { _tag: "Batch", items: [1, "a"] }, "82a1629201a161a16ec3"],
  [
    "the last items of a stream",
    { _tag: "Batch", items: [1], end: { _tag: "Success", value: undefined } },
    "81a1629101"
  ],
  [
    "a stream that failed",
    { _tag: "Batch", items: [], end: { _tag: "Failure", error: { _tag: "Broken" } } },
    "82a16290a16681a45f746167a642726f6b656e"
  ],
  [
    "a stream whose actor ended",
    {
      _tag: "Batch",
      items: [],
      end: { _tag: "Refused", error: new ActorCrashed({ kind: "k", id: "i", reason: "r" }) }
    },
    "82a16290a16184a45f746167ac4163746f7243726173686564a46b696e64a16ba26964a169a6726561736f6ea172"
  ]
]

it.each(requests)("a request keeps its bytes: %s", (_, request, golden) => {
  expect(hex(encodeRequest(request))).toBe(golden)
  expect(Exit.getSuccess(decodeRequest(bytes(golden)))).toMatchObject({ _tag: "Some", value: request })
})

it.each(followUps)("a word about a request before keeps its bytes: %s", (_, word, golden) => {
  expect(hex(encodeFollowUp(word))).toBe(golden)
  expect(Exit.getSuccess(decodeRequest(bytes(golden)))).toMatchObject({ _tag: "Some", value: word })
})

it.each(replies)("a reply keeps its bytes: %s", (_, reply, golden) => {
  expect(hex(encodeReply(reply))).toBe(golden)
  expect(Exit.getSuccess(decodeReply(bytes(golden)))).toMatchObject({ _tag: "Some", value: reply })
})

it("an error of the runtime arrives as the same class, with its data", () => {
  for (const error of [
    new MailboxFull({ kind: "k", id: "i", capacity: 3 }),
    new AskTimeout({ tag: "t", timeoutMs: 5 })
  ]) {
    const arrived = decodeReply(encodeReply({ _tag: "Refused", error }))
    expect(Exit.getSuccess(arrived)).toMatchObject({ value: { _tag: "Refused", error } })
  }
})

it("a request with keys of a later version is read as before", () => {
  const later = bytes("83a16da5436c6f7365a17081a6726561736f6ea178a17a01")
  expect(Exit.getSuccess(decodeRequest(later))).toMatchObject({
    value: { tag: "Close", payload: { reason: "x" } }
  })
})

it("bytes cut off anywhere are malformed, never a crash", () => {
  for (const golden of [...requests, ...replies].map(([, , text]) => bytes(text))) {
    for (let length = 0; length < golden.length; length++) {
      const cut = golden.subarray(0, length)
      expect(Exit.isFailure(decodeRequest(cut)) && Exit.isFailure(decodeReply(cut))).toBe(true)
    }
  }
})

it("any bytes decode or are malformed, never a throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (garbage) => {
      for (const exit of [unpack(garbage), decodeRequest(garbage), decodeReply(garbage)]) {
        if (Exit.isFailure(exit)) expect(Exit.hasFails(exit)).toBe(true)
      }
    }),
    { numRuns: 2000 }
  )
})
