/**
 * Makes frames of packets in order. What it keeps is what a decoder takes:
 *
 * - a video begins with its first key frame;
 * - a frame of which a packet is missing is left out;
 * - complete frames after a loss are kept (`lossPolicy: "keep"`): they decode, and show smeared pictures until the next key
 *   frame. Where a decoder does refuse one, the computation tries again with `"untilKeyFrame"`, which leaves them out.
 *
 * Everything left out is counted by reason. What is held of an open frame has a limit.
 */
import { makeAv1Depacketizer } from "./av1.ts"
import type { Codec, Depacketizer, DropReason, Fragment, Frame } from "./Frame.ts"
import { makeH264Depacketizer } from "./h264.ts"
import { opusSamples } from "./opus.ts"
import type { TimedPacket } from "./RtpSequencer.ts"
import { vp8Depacketizer } from "./vp8.ts"
import { makeVp9Depacketizer } from "./vp9.ts"

export type LossPolicy = "keep" | "untilKeyFrame"

export interface FrameAssembler {
  readonly push: (packet: TimedPacket, missing: number) => void
  /** The last frame is kept only if it is known to be complete. */
  readonly flush: () => void
  /** What follows has nothing to do with what came before, but for the parameters of the codec. */
  readonly restart: () => void
}

export interface AssemblerOptions {
  readonly codec: Codec
  readonly emit: (frame: Frame) => void
  readonly drop: (reason: DropReason) => void
  readonly lossPolicy: LossPolicy
  /** Of H.264: `sprop-parameter-sets`, for a sender that does not send its parameter sets with the pictures. */
  readonly parameterSets?: string
}

export const makeFrameAssembler = (options: AssemblerOptions): FrameAssembler => {
  switch (options.codec) {
    case "opus":
      return makeOpusAssembler(options)
    case "vp8":
      return makeVideoAssembler(vp8Depacketizer, options)
    case "vp9":
      return makeVideoAssembler(makeVp9Depacketizer(), options)
    case "h264":
      return makeVideoAssembler(makeH264Depacketizer(options.parameterSets), options)
    case "av1":
      return makeVideoAssembler(makeAv1Depacketizer(), options)
  }
}

const makeOpusAssembler = ({ drop, emit }: AssemblerOptions): FrameAssembler => ({
  push: ({ packet, arrivalUs, ticks }) => {
    if (packet.payload.length === 0) return drop("padding")
    const samples = opusSamples(packet.payload)
    if (samples === undefined) return drop("malformedFrame")
    const durationUs = (samples * 1000) / 48
    const data = [packet.payload]
    emit({ codec: "opus", ticks, arrivalUs, key: true, shown: true, width: 0, height: 0, durationUs, data })
  },
  flush: () => {},
  restart: () => {}
})

/** A frame beyond these is rubbish: the largest key frames of 4K are a tenth of it. */
const maxFrameBytes = 16 << 20
const maxFragments = 1 << 14
/** A B frame's timestamp is less than a second (of 90 kHz) behind; further back is another time, by a sender that began again. */
const reorderTicks = 90_000

const makeVideoAssembler = <F extends Fragment>(
  format: Depacketizer<F>,
  { codec, drop, emit, lossPolicy }: AssemblerOptions
): FrameAssembler => {
  interface Open {
    readonly ticks: number
    readonly arrivalUs: number
    readonly afterLoss: boolean
    readonly fragments: Array<F>
    bytes: number
  }
  let open: Open | undefined
  /** The frame that was given up last: what still comes of it is not counted again. */
  let headless: number | undefined
  let seenKey = false
  let lossSinceKey = false
  let newestTicks = -Infinity

  const abandon = (reason: DropReason = "incompleteFrame"): void => {
    if (open === undefined) return
    drop(reason)
    headless = open.ticks
    open = undefined
  }

  const close = (): void => {
    const frame = open
    open = undefined
    if (frame === undefined) return
    const picture = format.assemble(frame.fragments, frame.afterLoss)
    if (typeof picture === "string") {
      if (picture !== "noPicture") lossSinceKey = true
      return drop(picture)
    }
    if (picture.key) {
      seenKey = true
      lossSinceKey = false
    }
    if (!seenKey) return drop("beforeKeyFrame")
    if (lossSinceKey && lossPolicy === "untilKeyFrame") return drop("afterLoss")
    const { arrivalUs, ticks } = frame
    const behind = newestTicks - ticks
    const reordered = codec === "h264" && behind > 0 && behind < reorderTicks
    if (!reordered) newestTicks = ticks
    emit({ codec, ticks, arrivalUs, durationUs: 0, ...picture, ...(reordered ? { reordered } : {}) })
  }

  return {
    push: ({ packet: { marker, payload }, arrivalUs, ticks }, missing) => {
      if (missing > 0) {
        lossSinceKey = true
        abandon()
      }
      if (payload.length === 0) return drop("padding")
      const fragment = format.parse(payload)
      if (typeof fragment === "string") {
        lossSinceKey = true
        abandon()
        return drop(fragment)
      }
      const { begins } = fragment
      if (begins !== "always" && open?.ticks === ticks) {
        open.fragments.push(fragment)
        open.bytes += payload.length
        if (open.bytes > maxFrameBytes || open.fragments.length > maxFragments) {
          lossSinceKey = true
          abandon("oversizedFrame")
        }
      } else if (begins === "always" || (begins === "maybe" && headless !== ticks)) {
        // No marker and nothing missing: the frame before was complete all the same.
        close()
        open = { ticks, arrivalUs, afterLoss: missing > 0, fragments: [fragment], bytes: payload.length }
      } else {
        abandon()
        lossSinceKey = true
        if (headless !== ticks) drop("incompleteFrame")
        headless = ticks
      }
      if (marker) close()
    },
    flush: abandon,
    restart: () => {
      abandon()
      headless = undefined
      seenKey = false
      lossSinceKey = false
    }
  }
}
