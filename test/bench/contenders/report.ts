/** The message that every remote contender carries: what a client of a room says about how it hears a producer. */

export interface Report {
  readonly roomId: string
  readonly peerId: string
  readonly producerId: string
  readonly sequence: number
  readonly bitrate: number
  readonly lostPackets: number
  readonly muted: boolean
}

export const report = (sequence: number): Report => ({
  roomId: "talk-4711",
  peerId: "peer-17-of-talk-4711",
  producerId: "video-of-peer-3",
  sequence,
  bitrate: 1_250_000,
  lostPackets: 3,
  muted: false
})

/** What comes back. */
export interface Heard {
  readonly sequence: number
  readonly reports: number
}
