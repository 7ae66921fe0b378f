import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import { createSocket } from "node:dgram"
import * as fs from "node:fs"
import * as path from "node:path"
import { compute } from "../../src/recording/Compute.ts"
import type { SenderReport } from "../../src/recording/JournalFormat.ts"
import type { Receipt } from "../../src/recording/Receipt.ts"
import { RecordingStore } from "../../src/recording/RecordingStore.ts"
import { parseRtp, unwrapNear } from "../../src/recording/rtp/RtpPacket.ts"
import { opusTrack, temporaryFolder, vp8Track, writePart } from "./fixtures.ts"
import type { CaptureEvent } from "./fixtures.ts"
import { startProgram } from "./processes.ts"
import { realRtp } from "./realRtp.ts"
import type { RealRtp } from "./realRtp.ts"

const seconds = 6
const ms = 1000
const us = 1_000_000
const patience = 90_000

/** When each of the two processes captures, in milliseconds of the source, whose key frames are at 0, 2 and 4 s. */
const first = { fromMs: 0, toMs: 4000 }
const second = { fromMs: 1500, toMs: Infinity }

interface Sent {
  readonly kind: "video" | "audio"
  readonly atUs: number
  readonly bytes: Buffer
}

/** The packets of one encoding with another SSRC and other timestamps, and a sender report every half second, by the sender's clock. */
const encodingOf = (
  source: RealRtp,
  of: { readonly ssrc: number; readonly shift: number }
): ReadonlyArray<Sent> =>
  (["video", "audio"] as const).flatMap((kind, at) => {
    const clockRate = kind === "video" ? 90_000 : 48_000
    const base = parseRtp(source[kind][0] ?? new Uint8Array())?.timestamp ?? 0
    let reportUs = 0
    return source[kind].flatMap((packet): ReadonlyArray<Sent> => {
      const bytes = Buffer.from(packet)
      const ticks = unwrapNear(0, packet.readUInt32BE(4) - base, 32)
      const atUs = (ticks * us) / clockRate
      const timestamp = (packet.readUInt32BE(4) + of.shift) % 2 ** 32
      bytes.writeUInt32BE(timestamp, 4)
      bytes.writeUInt32BE(of.ssrc + at, 8)
      if (atUs < reportUs) return [{ kind, atUs, bytes }]
      reportUs += 500 * ms
      return [
        { kind, atUs, bytes },
        { kind, atUs, bytes: reportOf(of.ssrc + at, atUs, timestamp) }
      ]
    })
  })

const ntpSeconds = 3_900_000_000

const reportOf = (ssrc: number, atUs: number, rtpTimestamp: number): Buffer => {
  const bytes = Buffer.alloc(28)
  bytes.writeUInt8(0x80, 0)
  bytes.writeUInt8(200, 1)
  bytes.writeUInt16BE(6, 2)
  bytes.writeUInt32BE(ssrc, 4)
  bytes.writeUInt32BE(ntpSeconds + Math.floor(atUs / us), 8)
  bytes.writeUInt32BE(Math.round(((atUs % us) / us) * 2 ** 32) % 2 ** 32, 12)
  bytes.writeUInt32BE(rtpTimestamp, 16)
  return bytes
}

const readReport = (bytes: Buffer): SenderReport => ({
  ntpSeconds: bytes.readUInt32BE(8),
  ntpFraction: bytes.readUInt32BE(12),
  rtpTimestamp: bytes.readUInt32BE(16)
})

/** From the first of them on, as they come to the node. */
const eventsOf = (sent: ReadonlyArray<Sent>) =>
  sent.map(({ atUs, bytes, kind }): CaptureEvent => ({
    atUs: atUs - (sent[0]?.atUs ?? 0),
    track: kind,
    ...(bytes[1] === 200 ? { report: readReport(bytes) } : { packet: bytes })
  }))

const isWithin =
  ({ fromMs, toMs }: { readonly fromMs: number; readonly toMs: number }) =>
  ({ atUs }: { readonly atUs: number }) =>
    atUs >= fromMs * ms && atUs < toMs * ms

const storeIn = (folder: string) => path.join(folder, "results")

const computeIn = (folder: string, ...parts: ReadonlyArray<string>) =>
  compute(parts, { computedBy: "test" }).pipe(Effect.provide(RecordingStore.folder(storeIn(folder))))

/** Milliseconds between the frames of a stream, in the order of the file. */
const intervals = (file: string, stream: number): ReadonlyArray<number> => {
  const args = ["-v", "error", "-select_streams", String(stream), "-show_entries", "packet=pts_time"]
  const times = execFileSync("ffprobe", [...args, "-of", "csv=p=0", file], { encoding: "utf8" })
  const each = times
    .trim()
    .split("\n")
    .map((line) => Math.round(Number.parseFloat(line) * 1000))
  return each.slice(1).map((time, i) => time - (each[i] ?? 0))
}

/** What one recording of both parts has to be: every frame of the source once, and no step in time where the second goes on. */
const assertWhole = (folder: string, receipt: Receipt, source: RealRtp, tolerance: number) => {
  const file = path.join(storeIn(folder), receipt.recordingId, receipt.file ?? "none")
  const [video, audio] = receipt.tracks
  assert.strictEqual(receipt.tracks.length, 2)
  assert.deepInclude(video, { frames: source.videoFrames, lostPackets: 0 })
  assert.deepInclude(audio, { frames: source.audioFrames, lostPackets: 0 })
  for (const [track, usual] of [
    [video, 40],
    [audio, 20]
  ] as const) {
    const found = intervals(file, track?.stream ?? -1)
    const worst = Math.max(...found.map((interval) => Math.abs(interval - usual)))
    assert.isAtMost(worst, tolerance, `${track?.kind}: ${found.join(" ")}`)
    assert.strictEqual(track?.seams?.length, 1)
  }
}

describe("one recording of two parts", () => {
  it.live(
    "of two processes, whose clocks stand at other times and run at other speeds, loses no frame and has no seam in time",
    () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const sources = [yield* realRtp({ seconds }), yield* realRtp({ seconds, kbit: 250 })] as const
        const encodings = [
          encodingOf(sources[0], { ssrc: 1111, shift: 0 }),
          encodingOf(sources[1], { ssrc: 5551, shift: 1_234_567 })
        ] as const
        const begin = (name: string, part: number, env: Readonly<Record<string, string>>) =>
          startProgram(
            "test/recording/programs/captureUdp.ts",
            [folder, name, "rec", String(part), ...(part === 0 ? ["1111", "1112"] : ["5551", "5552"])],
            { env }
          )
        const one = yield* begin("one", 0, {})
        // Three days ahead, and 100 ppm fast: wall clock and monotonic clock alike.
        const two = yield* begin("two", 1, {
          LD_PRELOAD: "/usr/$LIB/faketime/libfaketime.so.1",
          FAKETIME: "+3d x1.0001"
        })
        const ports = yield* Effect.forEach([one, two], (program) =>
          Effect.map(
            program.until((line) => /^\d+ \d+$/.test(line)),
            (line) => line.split(" ").map(Number)
          )
        )
        const to = (process: number, kind: Sent["kind"]) => ports[process]?.[kind === "video" ? 0 : 1] ?? 0
        yield* Effect.promise(() =>
          sendInTime([
            ...encodings[0].filter(isWithin(first)).map((sent) => ({ ...sent, port: to(0, sent.kind) })),
            ...encodings[1].filter(isWithin(second)).map((sent) => ({ ...sent, port: to(1, sent.kind) }))
          ])
        )
        yield* Effect.forEach([one, two], (program) => program.until((line) => line === "sealed"))
        const parts = ["two", "one"].map((name) => path.join(folder, "incarnations", name, "rec"))
        const receipt = yield* computeIn(folder, ...parts)
        assert.deepStrictEqual(
          receipt.parts.map(({ aligned, incarnation }) => ({ aligned, incarnation })),
          [
            { incarnation: "one", aligned: "own" },
            { incarnation: "two", aligned: "senderReports" }
          ]
        )
        // The packets were sent by a timer, and read when the processes were given the time.
        assertWhole(folder, receipt, sources[0], 15)
        const again = fs.readFileSync(path.join(parts[0] ?? "", "receipt.json"), "utf8")
        assert.strictEqual(again, fs.readFileSync(path.join(parts[1] ?? "", "receipt.json"), "utf8"))
      }),
    patience
  )

  it.live(
    "is exact where the network is, though no clock of the one host agrees with the other's; and alone before, or together again, makes no difference",
    () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const sources = [yield* realRtp({ seconds }), yield* realRtp({ seconds, kbit: 250 })] as const
        const write = (
          part: number,
          sent: ReadonlyArray<Sent>,
          clocks: { readonly monotonicUs: number; readonly wallMs: number }
        ) =>
          writePart({
            folder: path.join(folder, `part${part}`),
            manifest: { part, incarnation: `incarnation${part}`, startedAt: clocks.wallMs },
            tracks: {
              video: vp8Track({ source: "camera", producerId: `camera${part}` }),
              audio: opusTrack({ source: "microphone", producerId: `microphone${part}` })
            },
            clocks,
            events: eventsOf(sent)
          })
        yield* write(0, encodingOf(sources[0], { ssrc: 1, shift: 0 }).filter(isWithin(first)), {
          monotonicUs: 1_000_000_000,
          wallMs: 1_795_000_000_000
        })
        // Its wall clock is an hour behind, its machine was started at another time.
        yield* write(1, encodingOf(sources[1], { ssrc: 8, shift: 99_999 }).filter(isWithin(second)), {
          monotonicUs: 77_000_000,
          wallMs: 1_794_996_400_000
        })
        const parts = [path.join(folder, "part0"), path.join(folder, "part1")]
        const alone = yield* computeIn(folder, parts[0] ?? "")
        assert.strictEqual(alone.parts.length, 1)
        const receipt = yield* computeIn(folder, ...parts)
        assertWhole(folder, receipt, sources[0], 1)
        const [video] = receipt.tracks
        assert.deepInclude(video?.seams?.[0], { atMs: 2000, from: 0, to: 1 })
        assert.deepStrictEqual(
          video?.sources?.map(({ frames, overlappingFrames, part }) => ({ frames, overlappingFrames, part })),
          [
            { part: 0, frames: 50, overlappingFrames: 50 },
            { part: 1, frames: 100, overlappingFrames: 0 }
          ]
        )
        // Every part says so now, and what was computed alone is still there.
        assert.deepStrictEqual(yield* computeIn(folder, parts[1] ?? ""), receipt)
        assert.deepStrictEqual(yield* computeIn(folder, ...parts), receipt)
        const names = fs.readdirSync(path.join(storeIn(folder), "rec")).filter((name) => name !== ".lock")
        assert.includeMembers(names, ["recording.webm", "receipt.json", receipt.file ?? ""])
        assert.notStrictEqual(receipt.file, "recording.webm")
      }),
    patience
  )

  it.live(
    "is one of a producer without a peer, too, when both have it under its id",
    () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const source = yield* realRtp({ seconds })
        const parts = yield* Effect.forEach([first, second], (span, part) => {
          const sent = encodingOf(source, { ssrc: part, shift: part * 5000 }).filter(
            (each) => each.kind === "audio" && isWithin(span)(each)
          )
          const own = path.join(folder, `part${part}`)
          return Effect.as(
            writePart({
              folder: own,
              manifest: { part, incarnation: `incarnation${part}` },
              tracks: {
                audio: {
                  producerId: "microphone",
                  kind: "audio",
                  mimeType: "audio/opus",
                  clockRate: 48_000,
                  channels: 2
                }
              },
              clocks: {
                monotonicUs: 500_000_000 + part * 7_000_000,
                wallMs: 1_795_000_000_000 - part * 9999
              },
              events: eventsOf(sent)
            }),
            own
          )
        })
        const receipt = yield* computeIn(folder, ...parts)
        assert.deepStrictEqual(
          receipt.parts.map(({ aligned }) => aligned),
          ["own", "senderReports"]
        )
        assert.deepInclude(receipt.tracks[0], { frames: source.audioFrames, lostPackets: 0 })
      }),
    patience
  )
})

/** Sends each packet at its time, then an empty one to each port. */
const sendInTime = async (packets: ReadonlyArray<Sent & { readonly port: number }>) => {
  const socket = createSocket("udp4")
  const waiting = packets.toSorted((a, b) => a.atUs - b.atUs)
  const start = performance.now()
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const nowUs = (performance.now() - start) * 1000
      for (let next = waiting[0]; next !== undefined && next.atUs <= nowUs; next = waiting[0]) {
        waiting.shift()
        socket.send(next.bytes, next.port, "127.0.0.1")
      }
      if (waiting.length > 0) return
      clearInterval(timer)
      resolve()
    }, 1)
  })
  for (const port of new Set(packets.map((each) => each.port))) {
    await new Promise((resolve) => socket.send(new Uint8Array(), port, "127.0.0.1", resolve))
  }
  socket.close()
}
