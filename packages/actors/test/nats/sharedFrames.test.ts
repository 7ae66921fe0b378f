import { describe, expect, it } from "@effect/vitest"
import * as fc from "fast-check"
import { pack } from "../../src/Envelope.ts"
import {
  decodeAnswers,
  decodeMessages,
  encodeAnswers,
  encodeMessages,
  makeTurn
} from "../../src/nats/sharedFrames.ts"

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
const bytes = (text: string) => new Uint8Array(Buffer.from(text, "hex"))

// Golden bytes: what version 1 looks like on the wire. They may never change.
const messages = [
  {
    name: "a tell and an ask",
    value: [
      { target: "room.a", wantsAnswer: false, data: Uint8Array.of(1) },
      { target: "room.b-2", wantsAnswer: true, data: Uint8Array.of() }
    ],
    golden: "96a6726f6f6d2e61c2c40101a8726f6f6d2e622d32c3c400"
  },
  { name: "the question whether they are taken", value: [], golden: "90" }
]
const answers = [
  { at: 0, data: Uint8Array.of(0x81) },
  { at: 300, data: Uint8Array.of() }
]
const goldenAnswers = "9400c40181cd012cc400"

it.each(messages)("messages that share a frame keep their bytes: $name", ({ golden, value }) => {
  expect(hex(encodeMessages(value))).toBe(golden)
  expect(decodeMessages(bytes(golden))).toEqual(value)
})

it("answers that share a frame keep their bytes", () => {
  expect(hex(encodeAnswers(answers))).toBe(goldenAnswers)
  expect(decodeAnswers(bytes(goldenAnswers))).toEqual(answers)
})

it("a shared frame of which any part is not as it has to be is not read at all", () => {
  const good = ["room.a", true, Uint8Array.of(1)]
  const refused: ReadonlyArray<unknown> = [
    {},
    null,
    "room.a",
    [good],
    good.slice(0, 2),
    [...good, "room.b"],
    [...good, "room.b", 1, Uint8Array.of()],
    [...good, "room.b", true, "text"],
    [...good, "room.b", true, [1]],
    [...good, 7, true, Uint8Array.of()],
    ...[
      "room",
      "room.a.b",
      ".a",
      "room.",
      "room.*",
      "room.>",
      "*.*",
      "room. a",
      "room.a\r\nPUB x 0\r\n",
      "room.a\n"
    ].map((target) => [...good, target, true, Uint8Array.of()]),
    [`room.${"a".repeat(65)}`, true, Uint8Array.of()]
  ]
  for (const value of refused) expect(decodeMessages(pack(value))).toBeUndefined()
  expect(decodeMessages(pack(good))).toHaveLength(1)
  for (const value of [{}, [1], ["1", Uint8Array.of()], [0, "text"], [0, [0, Uint8Array.of()]]]) {
    expect(decodeAnswers(pack(value))).toBeUndefined()
  }
})

it("a shared frame that claims or holds a million messages is not read", () => {
  expect(decodeMessages(bytes("dd002dc6c0"))).toBeUndefined()
  const million = new Uint8Array(5 + 3_000_000).fill(0xc0)
  million.set(bytes("dd002dc6c0"))
  expect(decodeMessages(million)).toBeUndefined()
  expect(decodeAnswers(million)).toBeUndefined()
})

it("shared frames cut off anywhere, and any bytes, are read or not, never a throw", () => {
  const [{ golden } = { golden: "" }] = messages
  for (let length = 0; length < golden.length / 2; length++) {
    expect(decodeMessages(bytes(golden).subarray(0, length))).toBeUndefined()
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (garbage) => {
      decodeMessages(garbage)
      decodeAnswers(garbage)
    }),
    { numRuns: 2000 }
  )
})

describe("a turn", () => {
  const turn = (limit: number) => {
    const sent: Array<readonly [string, ReadonlyArray<number>]> = []
    const { add, flush } = makeTurn<{ readonly data: Uint8Array }>(
      () => limit,
      (to, items) => void sent.push([to, items.map(({ data }) => data.length)])
    )
    return { sent, flush, add: (to: string, length: number) => add(to, { data: new Uint8Array(length) }) }
  }
  const itsEnd = () => new Promise<void>((resolve) => queueMicrotask(resolve))

  it("sends at its end what was added, together for each place, in order", async () => {
    const { add, sent } = turn(1000)
    add("a", 1)
    add("b", 2)
    add("a", 3)
    expect(sent).toEqual([])
    await itsEnd()
    expect(sent).toEqual([
      ["a", [1, 3]],
      ["b", [2]]
    ])
    add("a", 4)
    await itsEnd()
    expect(sent.at(-1)).toEqual(["a", [4]])
  })

  it("never sends more at once than fits a frame, and one by itself however large", async () => {
    const { add, sent } = turn(1000)
    for (const length of [400, 400, 400, 2000, 1, 1]) add("a", length)
    // What does not fit any more has gone; the end of the turn brings the rest.
    expect(sent).toEqual([
      ["a", [400, 400]],
      ["a", [400]],
      ["a", [2000]]
    ])
    await itsEnd()
    expect(sent.at(-1)).toEqual(["a", [1, 1]])
    expect(sent).toHaveLength(4)
  })

  it("sends what was added while it was sending", async () => {
    const sent: Array<number> = []
    const { add } = makeTurn<{ readonly data: Uint8Array }>(
      () => 1000,
      (to, [item]) => {
        if (sent.push(item?.data.length ?? 0) === 1) add(to, { data: new Uint8Array(2) })
      }
    )
    add("a", { data: new Uint8Array(1) })
    await itsEnd()
    await itsEnd()
    expect(sent).toEqual([1, 2])
  })
})
