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
      startedAt: 0,
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

/** Hands packets over as they are due, and says each 200 ms how it goes. */
const capture = (journals: ReadonlyArray<Journal>, thread: JournalThread.JournalThread) => {
  const counter = fs.openSync(options.counter, "w")
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const counted = Buffer.alloc(8)
  const begun = performance.now()
  const sent = streams.map(() => 0)
  const packets = streams.map(({ bytes }) => Buffer.alloc(bytes))
  let handed = 0
  const handOver = () => {
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
  }
  const ms = (nanoseconds: number) => Math.round(nanoseconds / 1e4) / 100
  const status = () => ({
    handed,
    lost: journals.reduce((sum, journal) => sum + journal.lost(), 0),
    p99: ms(delay.percentile(99)),
    worst: ms(delay.max),
    queued: thread.queuedBytes(),
    stalled: thread.stalledMs()
  })
  const timers = [setInterval(handOver, 5), setInterval(() => say(JSON.stringify(status())), 200)]
  return {
    status,
    stop: () => {
      for (const timer of timers) clearInterval(timer)
    }
  }
}

await Effect.gen(function* () {
  const { queueBytes } = options
  const thread = yield* JournalThread.make(queueBytes === undefined ? {} : { queueBytes })
  const names = Array.from({ length: recordings }, (_, i) => `rec${i}`)
  const journals = yield* Effect.forEach(names, (name) =>
    way === "thread" ? threaded(name, thread) : Effect.sync(() => direct(name))
  )
  const capturing = capture(journals, thread)
  say("ready")
  yield* Effect.promise(() => isToSeal)
  capturing.stop()
  const { p99, worst } = capturing.status()
  yield* Effect.forEach(journals, ({ seal }) => seal, { concurrency: "unbounded" })
  say(JSON.stringify({ ...capturing.status(), sealed: true, p99, worst }))
}).pipe(Effect.scoped, Effect.runPromise)
process.exit(0)
