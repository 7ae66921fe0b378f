/**
 * A process that captures into journals at the rate of calls, to have faults done to it: VP8 of 500 kbit/s and Opus for each recording, every
 * packet numbered. What it has handed over is in a file of shared memory, written before the packet is: what reached the process is known,
 * whatever becomes of it.
 *
 *     node capture.ts '{"folder": …, "recordings": 10, "way": "thread" | "direct", "counter": FILE, "queueBytes"?, "syncEveryMs"?}'
 *
 * Says `ready`; a line of JSON each 200 ms; after a line on its standard input it seals, says `sealed`, and ends. `direct` is a synchronous
 * write for each packet in the thread that captures, to compare with.
 */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { monitorEventLoopDelay } from "node:perf_hooks"
import {
  encodeMap,
  fileHeader,
  recordHeaderBytes,
  recordType,
  sealHeader
} from "../../../packages/media/src/recording/JournalFormat.ts"
import * as JournalThread from "../../../packages/media/src/recording/JournalThread.ts"
import * as JournalWriter from "../../../packages/media/src/recording/JournalWriter.ts"

interface Options {
  readonly folder: string
  readonly recordings: number
  readonly way: "thread" | "direct"
  readonly counter: string
  readonly queueBytes?: number
  readonly syncEveryMs?: number
}
const options = JSON.parse(process.argv[2] ?? "{}") as Options
const { folder, recordings, way } = options

/** Packets a second of one recording, and their bytes. */
const streams = [
  { perSecond: 62, bytes: 1000 },
  { perSecond: 50, bytes: 120 }
]

interface Journal {
  readonly rtp: (packet: Uint8Array) => void
  readonly lost: () => number
  readonly seal: Effect.Effect<unknown, unknown>
}

const threaded = Effect.fnUntraced(function* (name: string, thread: JournalThread.JournalThread) {
  const writer = yield* JournalWriter.make({
    folder: path.join(folder, name),
    manifest: {
      format: 1,
      recordingId: name,
      roomId: "room",
      nodeId: "captor",
      incarnation: path.basename(folder),
      part: 0,
      startedAt: Date.now(),
      state: "Capturing"
    },
    thread,
    ...(options.syncEveryMs === undefined ? {} : { syncEveryMs: options.syncEveryMs })
  })
  const track = writer.track({ producerId: "p", kind: "video", mimeType: "video/VP8", clockRate: 90_000 })
  const journal: Journal = {
    rtp: (packet) => writer.rtp(track, packet),
    lost: () => writer.stats.lostPackets,
    seal: writer.seal("stopped")
  }
  return journal
})

const direct = (name: string): Journal => {
  fs.mkdirSync(path.join(folder, name), { recursive: true })
  const fd = fs.openSync(path.join(folder, name, "journal.ebbj"), "ax")
  fs.writeSync(fd, fileHeader)
  const scratch = Buffer.alloc(4096)
  const write = (type: number, payload: Uint8Array) => {
    scratch.set(payload, recordHeaderBytes)
    sealHeader(scratch, type, 1, Math.floor(performance.now() * 1000), payload.length)
    fs.writeSync(fd, scratch, 0, recordHeaderBytes + payload.length)
  }
  return {
    rtp: (packet) => write(recordType.rtp, packet),
    lost: () => 0,
    seal: Effect.sync(() => write(recordType.seal, encodeMap({ reason: "stopped" })))
  }
}

const isToSeal = new Promise<void>((resolve) => void process.stdin.once("data", () => resolve()))
const say = (line: string) => fs.writeSync(1, `${line}\n`)

await Effect.gen(function* () {
  const { queueBytes } = options
  const thread = yield* JournalThread.make(queueBytes === undefined ? {} : { queueBytes })
  const names = Array.from({ length: recordings }, (_, i) => `rec${i}`)
  const journals = yield* Effect.forEach(names, (name) =>
    way === "thread" ? threaded(name, thread) : Effect.sync(() => direct(name))
  )
  const counter = fs.openSync(options.counter, "w")
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  say("ready")

  let handed = 0
  const counted = Buffer.alloc(8)
  const begun = performance.now()
  const sent = streams.map(() => 0)
  const packets = streams.map(({ bytes }) => Buffer.alloc(bytes))
  const tick = setInterval(() => {
    const seconds = (performance.now() - begun) / 1000
    for (const [i, { perSecond }] of streams.entries()) {
      for (; (sent[i] ?? 0) < Math.floor(seconds * perSecond); sent[i] = (sent[i] ?? 0) + 1) {
        for (const journal of journals) {
          counted.writeDoubleBE(++handed)
          fs.writeSync(counter, counted, 0, 8, 0)
          const packet = packets[i]
          if (packet === undefined) continue
          packet.writeUInt32BE(handed, 12)
          journal.rtp(packet)
        }
      }
    }
  }, 5)
  const ms = (nanoseconds: number) => Math.round(nanoseconds / 1e4) / 100
  const status = setInterval(() => {
    const lost = journals.reduce((sum, journal) => sum + journal.lost(), 0)
    const { max } = delay
    const line = {
      handed,
      lost,
      p99: ms(delay.percentile(99)),
      worst: ms(max),
      queued: thread.queuedBytes(),
      stalled: thread.stalledMs()
    }
    say(JSON.stringify(line))
  }, 200)
  yield* Effect.promise(() => isToSeal)
  clearInterval(tick)
  const { p99, worst } = { p99: ms(delay.percentile(99)), worst: ms(delay.max) }
  yield* Effect.forEach(journals, ({ seal }) => seal, { concurrency: "unbounded" })
  clearInterval(status)
  const lost = journals.reduce((sum, journal) => sum + journal.lost(), 0)
  say(
    JSON.stringify({
      sealed: true,
      handed,
      lost,
      p99,
      worst,
      queued: thread.queuedBytes(),
      stalled: thread.stalledMs()
    })
  )
}).pipe(Effect.scoped, Effect.runPromise)
process.exit(0)
