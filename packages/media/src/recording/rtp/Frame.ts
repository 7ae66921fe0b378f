/**
 * What a codec's packets become, and what each codec's module has to say of its packets so that the assembler can make frames of them.
 * No function here or in these modules throws: what cannot be read has a reason.
 */

export type Codec = "opus" | "vp8" | "vp9" | "h264" | "av1"

export interface Frame {
  readonly codec: Codec
  /** RTP timestamp without its wrap-around, and the arrival of the frame's first packet. */
  readonly ticks: number
  readonly arrivalUs: number
  readonly key: boolean
  /** False for a frame that is decoded and not displayed. */
  readonly shown: boolean
  /** Shown before frames that came before it: a B frame of H.264. Times need not grow there. */
  readonly reordered?: true
  /** Of a key frame; otherwise 0. */
  readonly width: number
  readonly height: number
  /** Of an audio frame; 0 when the codec does not say. */
  readonly durationUs: number
  /** Pieces of the frame as a file holds it, in order; they may share memory with the packets. */
  readonly data: ReadonlyArray<Uint8Array>
  /** Of a key frame whose codec has one: what the file must say of the codec (avcC of H.264, av1C of AV1). */
  readonly codecPrivate?: Uint8Array
}

export type DropReason =
  | "incompleteFrame"
  | "beforeKeyFrame"
  | "afterLoss"
  | "malformedFrame"
  | "oversizedFrame"
  | "padding"
  /** H.264 in interleaved mode (STAP-B, MTAP, FU-B): nobody sends it who speaks WebRTC, and it is refused. */
  | "interleaved"
  /** A key frame without the parameter sets or the sequence header that a decoder needs. */
  | "missingParameters"
  /** Parameter sets alone: kept for the key frame that needs them. */
  | "noPicture"

/** One packet's share of a frame. */
export interface Fragment {
  /**
   * `always`: a frame begins here, also within one timestamp. `maybe`: it does unless the packet before it had the same timestamp.
   * `never`: this continues a frame.
   */
  readonly begins: "always" | "maybe" | "never"
}

/** A whole frame, as its own bytes describe it. */
export interface Picture {
  readonly key: boolean
  readonly shown: boolean
  readonly width: number
  readonly height: number
  readonly data: ReadonlyArray<Uint8Array>
  readonly codecPrivate?: Uint8Array
}

/** May remember what one frame says for the next; what it remembers has a limit. */
export interface Depacketizer<F extends Fragment> {
  /** Of a payload that is not empty. */
  readonly parse: (payload: Uint8Array) => F | DropReason
  /**
   * Of all fragments of one frame, in order and without a hole. `afterLoss`: packets are missing right before the first, so it may
   * be that the frame began with them.
   */
  readonly assemble: (fragments: ReadonlyArray<F>, afterLoss: boolean) => Picture | DropReason
}

/** The first `count` bytes, gathered from as many pieces as it takes. */
export const headOf = (data: ReadonlyArray<Uint8Array>, count: number): Uint8Array => {
  const [first] = data
  if (first !== undefined && (first.length >= count || data.length === 1)) return first.subarray(0, count)
  const gathered: Array<Uint8Array> = []
  let missing = count
  for (const piece of data) {
    if (missing <= 0) break
    gathered.push(piece.subarray(0, missing))
    missing -= piece.length
  }
  return Buffer.concat(gathered)
}

export const bytesOf = (data: ReadonlyArray<Uint8Array>): number =>
  data.reduce((sum, piece) => sum + piece.length, 0)
