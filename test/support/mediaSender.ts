/**
 * Real VP8 and Opus in real time: ffmpeg encodes a moving picture and a tone and sends RTP through a relay of this process, which counts
 * what it passes on. So what was sent is known from nobody's word, and a sender can end at the end of a frame.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { startProgram } from "./program.ts"
import { isRtcp, openUdp } from "./udpCounter.ts"
import { untilTrue } from "./until.ts"

export const vp8 = { kind: "video", codec: "vp8", payloadType: 96, ssrc: 1111 } as const
export const opus = { kind: "audio", codec: "opus", payloadType: 111, ssrc: 2222 } as const

/** What went into one stream so far. A frame counts when its last packet was sent; each Opus packet is one. */
export interface SentFlow {
  readonly packets: () => number
  readonly frames: () => number
  /** Whole frames among the first so many packets. */
  readonly framesIn: (packets: number) => number
}

export interface MediaSender {
  readonly video: SentFlow
  readonly audio: SentFlow
  readonly packets: () => number
  /** Returns when the last frame is whole and nothing is sent any more. */
  readonly stop: Effect.Effect<void>
}

export interface MediaSenderOptions {
  /** The ports that `producer.add` gave for `vp8` and `opus`. */
  readonly videoPort: number
  readonly audioPort: number
  readonly fps?: number
}

export const sendMedia = Effect.fnUntraced(function* ({
  audioPort,
  fps = 25,
  videoPort
}: MediaSenderOptions): Effect.fn.Return<MediaSender, never, Scope.Scope> {
  const video = yield* relay(videoPort, (packet) => ((packet[1] ?? 0) & 0x80) !== 0)
  const audio = yield* relay(audioPort, () => true)
  const url = ({ port }: { readonly port: number }) =>
    `rtp://127.0.0.1:${port}?rtcpport=${port}&pkt_size=1000`
  const stream = (of: typeof vp8 | typeof opus) => `-payload_type ${of.payloadType} -ssrc ${of.ssrc} -f rtp`
  const args = [
    "-loglevel error -nostdin",
    `-re -f lavfi -i testsrc2=size=320x240:rate=${fps} -re -f lavfi -i sine=frequency=440:sample_rate=48000`,
    `-map 0:v -c:v libvpx -deadline realtime -cpu-used 8 -b:v 300k -g ${fps * 2} -auto-alt-ref 0`,
    `-lag-in-frames 0 -threads 1 ${stream(vp8)} ${url(video)}`,
    `-map 1:a -c:a libopus -b:a 32k -ac 2 ${stream(opus)} ${url(audio)}`
  ].flatMap((words) => words.split(" "))
  const ffmpeg = yield* startProgram("ffmpeg", args)
  yield* untilTrue(() => video.frames() > 0 && audio.frames() > 0)
  return {
    video,
    audio,
    packets: () => video.packets() + audio.packets(),
    stop: Effect.gen(function* () {
      video.end()
      audio.end()
      yield* untilTrue(() => video.ended() && audio.ended())
      yield* ffmpeg.signal("SIGKILL")
      yield* ffmpeg.exited
    })
  }
})

const relay = Effect.fnUntraced(function* (to: number, endsFrame: (packet: Uint8Array) => boolean) {
  const socket = yield* openUdp
  /** The number of packets after which each frame was whole. */
  const frameEnds: Array<number> = []
  let packets = 0
  let ending = false
  let ended = false
  socket.on("message", (packet) => {
    if (ended) return
    socket.send(packet, to, "127.0.0.1")
    if (isRtcp(packet)) return
    packets++
    if (!endsFrame(packet)) return
    frameEnds.push(packets)
    ended = ending
  })
  return {
    port: socket.address().port,
    packets: () => packets,
    frames: () => frameEnds.length,
    framesIn: (count: number) => frameEnds.filter((end) => end <= count).length,
    end: () => void (ending = true),
    ended: () => ended
  }
})
