/** One entry of the directory, as it is stored. */
import { describe, expect, it } from "@effect/vitest"
import * as Option from "effect/Option"
import { decodeDirectoryEntry, encodeDirectoryEntry } from "../src/DirectoryEntry.ts"
import { pack } from "../src/Envelope.ts"

const room = { kind: "room", id: "r1" }

describe("the record of an entry", () => {
  const golden =
    "86a17601a46b696e64a4726f6f6da26964a27231a46e6f6465a26e31a3696e63a26931a26174cf0000019e70448800"

  it("is these bytes", () => {
    const entry = { v: 1, ...room, node: "n1", inc: "i1", at: 1_780_000_000_000 }
    expect(Buffer.from(encodeDirectoryEntry(entry)).toString("hex")).toBe(golden)
    expect(Option.getOrThrow(decodeDirectoryEntry(Buffer.from(golden, "hex")))).toEqual(entry)
  })

  it("of a later version can be read, and keeps its fields", () => {
    const later = pack({ v: 1, ...room, node: "n1", inc: "i1", at: 0, since: { part: 2 } })
    expect(Option.getOrThrow(decodeDirectoryEntry(later))).toMatchObject({ since: { part: 2 } })
  })
})
