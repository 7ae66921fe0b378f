import { seededRandom } from "@ebb/actors/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Fiber from "effect/Fiber"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Worker } from "node:worker_threads"
import { fileHeader, recordHeaderBytes, recordType, sealHeader } from "../../src/recording/JournalFormat.ts"
import type { JournalRecord } from "../../src/recording/JournalFormat.ts"
import { makeJournalParser } from "../../src/recording/JournalParser.ts"
import * as JournalThread from "../../src/recording/JournalThread.ts"
import * as JournalWriter from "../../src/recording/JournalWriter.ts"
import { aManifest, opusTrack, readAll, temporaryFolder } from "./fixtures.ts"

/** An RTP record with its number in it. */
const numbered = (number: number, size = 1000): Buffer => {
  const record = Buffer.alloc(recordHeaderBytes + size)
  record.writeUInt32BE(number, recordHeaderBytes)
  sealHeader(record, recordType.rtp, 1, number, size)
  return record
}

const numbersOf = (records: ReadonlyArray<JournalRecord>) =>
  records.flatMap((record) => (record._tag === "Rtp" ? [Buffer.from(record.packet).readUInt32BE(0)] : []))

const parsed = (bytes: Buffer) => {
  const parser = makeJournalParser()
  return [...parser.push(bytes), ...parser.end()]
}

/** All that is in a pipe until `isEnough`, read as it comes. */
const drained = Effect.fnUntraced(function* (fifo: string, isEnough: (bytes: Buffer) => boolean) {
  const fd = fs.openSync(fifo, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
  const chunk = Buffer.alloc(1 << 16)
  const chunks: Array<Buffer> = []
  const read = Effect.sync(() => {
    try {
      const bytes = fs.readSync(fd, chunk)
      chunks.push(Buffer.from(chunk.subarray(0, bytes)))
    } catch (cause) {
      // Nothing in it now.
      if (!(cause instanceof Error && "code" in cause && cause.code === "EAGAIN")) throw cause
    }
    return isEnough(Buffer.concat(chunks))
  })
  yield* Effect.repeat(read, { schedule: Schedule.spaced("1 millis"), until: (isDone) => isDone })
  fs.closeSync(fd)
  return Buffer.concat(chunks)
})

const newFile = Effect.map(temporaryFolder, (folder) => {
  const file = path.join(folder, "journal")
  return { file, fd: fs.openSync(file, "ax") }
})

describe("JournalThread", () => {
  it.live("writes what is handed over in its order, however it lies in the queue", () =>
    Effect.gen(function* () {
      const thread = yield* JournalThread.make({ queueBytes: 65_536 })
      const { fd, file } = yield* newFile
      const journal = yield* thread.attach(file, fd)
      const random = seededRandom(7)
      for (let i = 0; i < 5000; i++) {
        journal.packet(numbered(i, 4 + Math.floor(random() * 6000)))
        if (i % 5 === 4) yield* journal.written
      }
      assert.deepStrictEqual(journal.lost(), { packets: 0, gaps: 0 })
      const numbers = numbersOf(parsed(fs.readFileSync(file)))
      assert.deepStrictEqual(
        numbers,
        Array.from({ length: 5000 }, (_, i) => i)
      )
    })
  )

  it.live(
    "a disk that stands holds up nobody: what does not fit is counted, and told where it is missing",
    () =>
      Effect.gen(function* () {
        // A pipe that nobody empties: the kernel holds the write up for as long as it likes.
        const fifo = path.join(yield* temporaryFolder, "fifo")
        execFileSync("mkfifo", [fifo])
        const thread = yield* JournalThread.make({ queueBytes: 65_536 })
        const journal = yield* thread.attach(fifo, fs.openSync(fifo, "r+"))
        yield* journal.written
        let next = 0
        // Until the pipe is full, the thread hangs in its write, and the queue is full, too.
        yield* Effect.repeat(
          Effect.sync(() => {
            journal.packet(numbered(next++))
            return thread.stalledMs() > 500 && journal.lost().packets > 0
          }),
          { schedule: Schedule.spaced("1 millis"), until: (isFull) => isFull }
        )
        const total = next + 1000
        while (next < total) journal.packet(numbered(next++))
        // A track that begins meanwhile is not lost.
        journal.must(fileHeader)
        assert.isAbove(thread.stalledMs(), 0)
        assert.isAtLeast(journal.lost().packets, 1000)
        assert.isAtMost(thread.queuedBytes(), 65_536)

        const header = Buffer.from(fileHeader)
        const missing = yield* Effect.forkChild(drained(fifo, (bytes) => bytes.includes(header)))
        yield* Effect.repeat(Effect.sync(thread.queuedBytes), {
          schedule: Schedule.spaced("1 millis"),
          until: (queued) => queued === 0
        })
        const before = journal.lost().packets
        const bytes = yield* Fiber.join(missing)
        const records = parsed(bytes.subarray(0, bytes.indexOf(header)))
        const numbers = numbersOf(records)
        const gaps = records.flatMap((record) => (record._tag === "Gap" ? [record.gap] : []))
        // Each packet is in it or counted, and the gap is where they are missing.
        assert.strictEqual(records.at(-1)?._tag, "Gap")
        assert.strictEqual(
          gaps.reduce((sum, { packets }) => sum + packets, 0),
          before
        )
        assert.deepStrictEqual([...new Set(gaps.map(({ reason }) => reason))], ["QueueFull"])
        assert.strictEqual(numbers.length + before, total)
        assert.deepStrictEqual(
          numbers,
          numbers.toSorted((one, other) => one - other)
        )
        assert.strictEqual(thread.stalledMs(), 0)
      })
  )

  it.live(
    "goes on with a new thread when one dies, in the same file, and loses nothing that was queued",
    () =>
      Effect.gen(function* () {
        const threads: Array<Worker> = []
        const thread = yield* JournalThread.make({ onStart: (started) => void threads.push(started) })
        const folder = path.join(yield* temporaryFolder, "rec")
        const writer = yield* JournalWriter.make({ folder, manifest: aManifest(), thread })
        const track = writer.track(opusTrack())
        const packet = (number: number) => {
          const bytes = Buffer.alloc(200)
          bytes.writeUInt32BE(number)
          return bytes
        }
        for (let i = 0; i < 300; i++) writer.rtp(track, packet(i))
        yield* Effect.promise(async () => threads[0]?.terminate())
        for (let i = 300; i < 600; i++) writer.rtp(track, packet(i))
        yield* writer.seal("stopped")
        assert.strictEqual(threads.length, 2)
        const { records } = yield* readAll(folder)
        // One that was being written when the thread died may be there twice: who computes leaves it out.
        assert.deepStrictEqual(
          [...new Set(numbersOf(records))],
          Array.from({ length: 600 }, (_, i) => i)
        )
        assert.strictEqual(records.at(-1)?._tag, "Seal")
        assert.deepInclude(writer.stats, { packets: 600, lostPackets: 0 })
      })
  )

  it.live(
    "fails every journal when its thread dies again and again, keeps them, and counts what comes after",
    () =>
      Effect.gen(function* () {
        const threads: Array<Worker> = []
        const thread = yield* JournalThread.make({ onStart: (started) => void threads.push(started) })
        const { fd, file } = yield* newFile
        const journal = yield* thread.attach(file, fd)
        journal.packet(numbered(0))
        yield* journal.written
        for (const death of [0, 1, 2]) {
          yield* Effect.promise(async () => threads[death]?.terminate())
        }
        const error = yield* Effect.flip(journal.failed)
        assert.deepInclude(error, { _tag: "JournalThreadDied", deaths: 3, retry: "never" })
        assert.strictEqual((yield* Effect.flip(journal.written))._tag, "JournalThreadDied")
        journal.packet(numbered(1))
        assert.deepStrictEqual(journal.lost(), { packets: 1, gaps: 1 })
        assert.deepStrictEqual(numbersOf(parsed(fs.readFileSync(file))), [0])
        const { file: other, fd: otherFd } = yield* newFile
        assert.strictEqual(
          (yield* Effect.flip(Effect.scoped(thread.attach(other, otherFd))))._tag,
          "JournalThreadDied"
        )
        // A recording that cannot begin leaves nothing: no folder that takes its id, and no open file.
        const folder = path.join(yield* temporaryFolder, "rec")
        const refused = Effect.scoped(JournalWriter.make({ folder, manifest: aManifest(), thread }))
        for (const _ of [1, 2]) assert.strictEqual((yield* Effect.flip(refused))._tag, "JournalThreadDied")
        assert.isFalse(fs.existsSync(folder))
        const openFiles = execFileSync("ls", ["-l", `/proc/${process.pid}/fd`], { encoding: "utf8" })
        assert.notInclude(openFiles, folder)
      })
  )
})
