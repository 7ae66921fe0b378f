/**
 * Makes frames of packets in order. What it keeps is what a decoder takes:
 *
 * - a track begins with its first key frame;
 * - a frame of which a packet is missing is left out;
 * - complete frames after a loss are kept (`lossPolicy: "keep"`): they decode, and show smeared pictures until the next key
 *   frame. Where a decoder does refuse one, the computation tries again with `"untilKeyFrame"`, which leaves them out.
 *
 * Everything left out is counted by reason.
 */
import { opusSamples } from "./opus.ts"
import type { TimedPacket } from "./RtpSequencer.ts"
import { parseVp8Frame, parseVp8Payload } from "./vp8.ts"

export interface Frame {
  /** RTP timestamp without its wrap-around, and the arrival of the frame's first packet. */
  readonly ticks: number
  readonly arrivalUs: number
  readonly key: boolean
  readonly shown: boolean
  /** Of a key frame; otherwise 0. */
  readonly width: number
  readonly height: number
  /** Of an audio frame; 0 when the codec does not say. */
  readonly durationUs: number
  /** Pieces of the frame, in order; they share memory with the packets. */
  readonly data: ReadonlyArray<Uint8Array>
}

export type LossPolicy = "keep" | "untilKeyFrame"

export type DropReason = "incompleteFrame" | "beforeKeyFrame" | "afterLoss" | "malformedFrame" | "padding"

export interface FrameAssembler {
  readonly push: (packet: TimedPacket, missing: number) => void
  /** The last frame is kept only if it is known to be complete. */
  readonly flush: () => void
}

type Drop = (reason: DropReason) => void

export const makeOpusAssembler = (emit: (frame: Frame) => void, drop: Drop): FrameAssembler => ({
  push: ({ packet, arrivalUs, ticks }) => {
    if (packet.payload.length === 0) return drop("padding")
    const samples = opusSamples(packet.payload)
    if (samples === undefined) return drop("malformedFrame")
    const durationUs = (samples * 1000) / 48
    emit({
      ticks,
      arrivalUs,
      key: true,
      shown: true,
      width: 0,
      height: 0,
      durationUs,
      data: [packet.payload]
    })
  },
  flush: () => {}
})

export const makeVp8Assembler = (
  emit: (frame: Frame) => void,
  drop: Drop,
  lossPolicy: LossPolicy
): FrameAssembler => {
  interface Open {
    readonly ticks: number
    readonly arrivalUs: number
    readonly data: Array<Uint8Array>
  }
  let open: Open | undefined
  /** The frame that was given up last: what still comes of it is not counted again. */
  let headless: number | undefined
  let seenKey = false
  let lossSinceKey = false

  const abandon = (): void => {
    if (open === undefined) return
    drop("incompleteFrame")
    headless = open.ticks
    open = undefined
  }

  const close = (): void => {
    const frame = open
    open = undefined
    if (frame === undefined) return
    const bytes = frame.data.reduce((sum, piece) => sum + piece.length, 0)
    const header = parseVp8Frame(headOf(frame.data), bytes)
    if (header === undefined) {
      lossSinceKey = true
      return drop("malformedFrame")
    }
    if (header.key) {
      seenKey = true
      lossSinceKey = false
    }
    if (!seenKey) return drop("beforeKeyFrame")
    if (lossSinceKey && lossPolicy === "untilKeyFrame") return drop("afterLoss")
    const { ticks, arrivalUs, data } = frame
    emit({ ticks, arrivalUs, data, durationUs: 0, ...header })
  }

  return {
    push: ({ packet, arrivalUs, ticks }, missing) => {
      if (missing > 0) {
        lossSinceKey = true
        abandon()
      }
      if (packet.payload.length === 0) return drop("padding")
      const fragment = parseVp8Payload(packet.payload)
      if (fragment === undefined) {
        lossSinceKey = true
        abandon()
        return drop("malformedFrame")
      }
      if (fragment.beginsFrame) {
        // No marker and nothing missing: the frame before was complete all the same.
        close()
        open = { ticks, arrivalUs, data: [fragment.data] }
      } else if (open !== undefined && open.ticks === ticks) {
        open.data.push(fragment.data)
      } else {
        abandon()
        lossSinceKey = true
        if (headless !== ticks) drop("incompleteFrame")
        headless = ticks
      }
      if (packet.marker) close()
    },
    flush: abandon
  }
}

/** The first ten bytes, gathered from as many pieces as it takes. */
const headOf = (data: ReadonlyArray<Uint8Array>): Uint8Array => {
  const [first] = data
  if (first !== undefined && first.length >= 10) return first
  return Uint8Array.from(data.flatMap((piece) => Array.from(piece.subarray(0, 10)))).subarray(0, 10)
}
