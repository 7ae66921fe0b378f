/** Answers that do not fit into a frame. */
import { maxFrameBytes, unpack } from "@ebb/actors"
import { describe, expect, it } from "@effect/vitest"
import * as Exit from "effect/Exit"
import { replyOf } from "../src/control/reply.ts"

const items = (sizes: ReadonlyArray<number>) =>
  sizes.map((bytes, n) => ({ recordingId: `r${n}`, folder: "d".repeat(bytes) }))
const page = (sizes: ReadonlyArray<number>, next?: string) =>
  replyOf(
    "recording.list",
    Exit.succeed({ recordings: items(sizes), ...(next === undefined ? {} : { next }) })
  )
const read = (frame: Uint8Array): unknown => {
  const value = unpack(frame)
  return Exit.isSuccess(value) ? value.value : undefined
}

describe("an answer that does not fit into a frame", () => {
  it("is cut when it is a page: the next one begins where it was cut", () => {
    for (const sizes of [
      Array.from({ length: 500 }, () => 4_000),
      [10, 900_000, 900_000, 10],
      [900_000, 900_000]
    ]) {
      const { frame, outcome } = page(sizes, "r999")
      expect(outcome).toBe("ok")
      expect(frame.length).toBeLessThanOrEqual(maxFrameBytes)
      const { ok } = read(frame) as {
        readonly ok: { readonly recordings: ReturnType<typeof items>; readonly next: string }
      }
      expect(ok.recordings).toEqual(items(sizes).slice(0, ok.recordings.length))
      expect(ok.next).toBe(`r${ok.recordings.length - 1}`)
      expect(ok.recordings.length).toBeGreaterThan(0)
    }
  })

  it("is as full as it may be, within a tenth", () => {
    const { frame } = page(Array.from({ length: 1_000 }, () => 4_000))
    expect(frame.length).toBeGreaterThan(maxFrameBytes * 0.9)
  })

  it("and cannot be cut is too large, never to be asked for again as it is", () => {
    const whole = replyOf("room.get", Exit.succeed({ metadata: "m".repeat(maxFrameBytes) }))
    for (const { frame, outcome } of [page([maxFrameBytes]), page([maxFrameBytes, 1]), whole]) {
      expect(outcome).toBe("AnswerTooLarge")
      expect(read(frame)).toMatchObject({
        error: { _tag: "AnswerTooLarge", retry: "never", maxBytes: maxFrameBytes }
      })
    }
  })
})
