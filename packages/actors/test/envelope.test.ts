import { expect, it } from "@effect/vitest"
import * as Exit from "effect/Exit"
import * as fc from "fast-check"
import { AskTimeout, MailboxFull, NodeDraining } from "../src/index.ts"
import type { Reply, Request } from "../src/Envelope.ts"
import { decodeReply, decodeRequest, encodeReply, encodeRequest, unpack } from "../src/Envelope.ts"

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
  ]
]

it.each(requests)("a request keeps its bytes: %s", (_, request, golden) => {
  expect(hex(encodeRequest(request))).toBe(golden)
  expect(Exit.getSuccess(decodeRequest(bytes(golden)))).toMatchObject({ _tag: "Some", value: request })
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
