import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as fsp from "node:fs/promises"
import * as path from "node:path"
import { createHash } from "node:crypto"
import { compute } from "../../src/recording/Compute.ts"
import { probe } from "../../src/recording/Ffprobe.ts"
import { readManifest } from "../../src/recording/Manifest.ts"
import type { Manifest } from "../../src/recording/Manifest.ts"
import { muxRecording } from "../../src/recording/Mux.ts"
import { joinParts } from "../../src/recording/Join.ts"
import { indexPart } from "../../src/recording/PartIndex.ts"
import { readReceipt } from "../../src/recording/Receipt.ts"
import type { Receipt } from "../../src/recording/Receipt.ts"
import { parseRtp } from "../../src/recording/rtp/RtpPacket.ts"
import { parseVp8Payload } from "../../src/recording/rtp/vp8.ts"
import { RecordingStore } from "../../src/recording/RecordingStore.ts"
import { verify } from "../../src/recording/Verify.ts"
import { arriving, opusTrack, readAll, temporaryFolder, vp8Track, writePart } from "./fixtures.ts"
import type { CaptureEvent } from "./fixtures.ts"
import { realRtp } from "./realRtp.ts"

const seconds = 6
const ms = 1000

const setUp = Effect.gen(function* () {
  const folder = yield* temporaryFolder
  const source = yield* realRtp({ seconds })
  const store = path.join(folder, "results")
  const part = path.join(folder, "rec")
  return {
    source,
    part,
    store,
    result: (receipt: Receipt) => path.join(store, receipt.recordingId, receipt.file ?? "none"),
    /** Everything of the source, the video 100 ms after the start. */
    events: [
      ...arriving("video", source.video, 90_000, 100 * ms),
      ...arriving("audio", source.audio, 48_000, 50 * ms)
    ],
    write: (
      events: ReadonlyArray<CaptureEvent>,
      more: { manifest?: Partial<Manifest>; folder?: string; seal?: boolean } = {}
    ) => writePart({ folder: part, tracks: { video: vp8Track(), audio: opusTrack() }, events, ...more }),
    compute: (folderOf = part) =>
      compute(folderOf, { computedBy: "test" }).pipe(Effect.provide(RecordingStore.folder(store)))
  }
})

/** Without the lock file, which stays. */
const published = (store: string) =>
  fs
    .readdirSync(path.join(store, "rec"))
    .filter((name) => name !== ".lock")
    .toSorted()

const trackOf = (receipt: Receipt, producerId: string) => {
  const track = receipt.tracks.find((each) => each.producerId === producerId)
  if (track === undefined) throw new Error(`no track ${producerId}`)
  return track
}

/** Milliseconds: every test here starts processes, on a machine that may be busy. */
const patience = 60_000

describe("compute", () => {
  it.live(
    "makes one verified file of real VP8 and Opus, with every frame that was sent",
    () =>
      Effect.gen(function* () {
        const { compute, events, part, result, source, store, write } = yield* setUp
        yield* write(events)
        const receipt = yield* compute()

        const file = result(receipt)
        const { streams, errors } = yield* probe(file)
        assert.deepStrictEqual(errors, [])
        assert.deepStrictEqual(
          [...streams.values()].map(({ codec, frames }) => ({ codec, frames })),
          [
            { codec: "opus", frames: source.audioFrames },
            { codec: "vp8", frames: source.videoFrames }
          ]
        )
        assert.deepInclude(trackOf(receipt, "video"), {
          frames: source.videoFrames,
          packets: source.video.length,
          lostPackets: 0,
          offsetMs: 100,
          durationMs: seconds * 1000,
          dropped: {}
        })
        assert.deepInclude(trackOf(receipt, "audio"), {
          frames: source.audioFrames,
          offsetMs: 50,
          dropped: {}
        })
        const bytes = fs.readFileSync(file)
        assert.strictEqual(receipt.sha256, createHash("sha256").update(bytes).digest("hex"))
        assert.strictEqual(receipt.bytes, bytes.length)
        assert.deepInclude(receipt.parts[0], {
          packets: events.length,
          gaps: 0,
          tornBytes: 0,
          sealed: "stopped"
        })
        assert.deepStrictEqual(yield* readReceipt(path.join(store, "rec", "receipt.json")), receipt)
        assert.deepStrictEqual(published(store), ["receipt.json", "recording.webm"])
        assert.strictEqual((yield* readManifest(part))?.state, "Computed")
      }),
    patience
  )

  it.live(
    "gives back the receipt that is there, and the same file when everything is computed again",
    () =>
      Effect.gen(function* () {
        const { compute, events, part, store, write } = yield* setUp
        yield* write(events)
        const receipt = yield* compute()
        assert.deepStrictEqual(yield* compute(), receipt)
        // Killed after the store had its receipt and before the part had its own.
        yield* Effect.promise(() => fsp.rm(path.join(part, "receipt.json")))
        assert.deepStrictEqual(yield* compute(), receipt)
        yield* Effect.promise(() => fsp.rm(path.join(part, "receipt.json")))
        yield* Effect.promise(() => fsp.rm(store, { recursive: true }))
        const again = yield* compute()
        assert.strictEqual(again.sha256, receipt.sha256)
        assert.deepStrictEqual(again.tracks, receipt.tracks)
      }),
    patience
  )

  it.live(
    "puts late joiners where they joined, and brings several of each kind into one file",
    () =>
      Effect.gen(function* () {
        const { compute, part, result, source } = yield* setUp
        yield* writePart({
          folder: part,
          tracks: {
            video: vp8Track(),
            audio: opusTrack(),
            video2: vp8Track({ producerId: "video2", peerId: "late" }),
            audio2: opusTrack({ producerId: "audio2", peerId: "late" })
          },
          events: [
            ...arriving("video", source.video, 90_000, 0),
            ...arriving("audio", source.audio, 48_000, 0),
            ...arriving("video2", source.video, 90_000, 60_000 * ms),
            ...arriving("audio2", source.audio, 48_000, 61_500 * ms)
          ]
        })
        const receipt = yield* compute()
        assert.strictEqual(trackOf(receipt, "video2").offsetMs, 60_000)
        assert.strictEqual(trackOf(receipt, "audio2").offsetMs, 61_500)
        const { streams, durationMs } = yield* probe(result(receipt))
        assert.deepStrictEqual(
          [...streams.values()].map(({ codec, firstMs, frames }) => ({ codec, firstMs, frames })),
          [
            { codec: "vp8", firstMs: 0, frames: source.videoFrames },
            { codec: "opus", firstMs: 0, frames: source.audioFrames },
            { codec: "vp8", firstMs: 60_000, frames: source.videoFrames },
            { codec: "opus", firstMs: 61_500, frames: source.audioFrames }
          ]
        )
        assert.closeTo(durationMs, 61_500 + source.audioFrames * 20, 2)
      }),
    patience
  )

  it.live(
    "loses no frame to reordering, duplication and wrap-around",
    () =>
      Effect.gen(function* () {
        const { compute, events, source, write } = yield* setUp
        const wrapping = events.map((event) => ({
          ...event,
          packet: renumbered(event.packet, 65_450, 2 ** 32 - 90_000)
        }))
        const shaken = wrapping.flatMap((event, i) => {
          const late = { ...event, atUs: event.atUs + (i % 7 === 0 ? 90 * ms : 0) }
          return i % 11 === 0 ? [late, { ...event, atUs: event.atUs + 200 * ms }] : [late]
        })
        yield* write(shaken)
        const receipt = yield* compute()
        const video = trackOf(receipt, "video")
        const audio = trackOf(receipt, "audio")
        assert.deepInclude(video, { frames: source.videoFrames, lostPackets: 0 })
        assert.deepInclude(audio, { frames: source.audioFrames, lostPackets: 0 })
        assert.strictEqual(
          (video.dropped["duplicate"] ?? 0) + (audio.dropped["duplicate"] ?? 0),
          shaken.length - events.length
        )
        assert.closeTo(video.durationMs, seconds * 1000, 5)
      }),
    patience
  )

  it.live(
    "puts sound and picture together that took different times to come, by the sender's reports",
    () =>
      Effect.gen(function* () {
        const { compute, source, write } = yield* setUp
        const lateAudio = arriving("audio", source.audio, 48_000, 250 * ms)
        const video = arriving("video", source.video, 90_000, 100 * ms)
        const reportAt = (event: CaptureEvent, capturedUs: number): CaptureEvent => ({
          atUs: event.atUs + 1,
          track: event.track,
          report: {
            ntpSeconds: 3_900_000_000 + Math.floor(capturedUs / 1_000_000),
            ntpFraction: Math.round(((capturedUs % 1_000_000) / 1_000_000) * 2 ** 32),
            rtpTimestamp: parseRtp(event.packet ?? new Uint8Array())?.timestamp ?? 0
          }
        })
        // Both were captured from the same moment on, and the audio came 150 ms later than the video.
        yield* write([
          ...video,
          ...lateAudio,
          ...video.filter((_, i) => i % 60 === 0).map((event) => reportAt(event, event.atUs - 100 * ms)),
          ...lateAudio.filter((_, i) => i % 60 === 5).map((event) => reportAt(event, event.atUs - 250 * ms))
        ])
        const receipt = yield* compute()
        assert.strictEqual(trackOf(receipt, "video").clock, "senderReports")
        assert.closeTo(trackOf(receipt, "audio").offsetMs, trackOf(receipt, "video").offsetMs, 1)
      }),
    patience
  )

  it.live(
    "is the same, byte by byte, when the host's wall clock is set back meanwhile",
    () =>
      Effect.gen(function* () {
        const { compute, events, part, write } = yield* setUp
        yield* write(events)
        const undisturbed = yield* compute()
        const setBack = events.map((event, i) =>
          i === 200 ? { ...event, wallMs: 1_700_000_000_000 } : event
        )
        yield* write(setBack, { folder: `${part}2`, manifest: { recordingId: "rec2" } })
        const receipt = yield* compute(`${part}2`)
        assert.strictEqual(receipt.sha256, undisturbed.sha256)
        assert.deepStrictEqual(receipt.tracks, undisturbed.tracks)
      }),
    patience
  )

  it.live(
    "counts frames that a sender hides, which a decoder takes and does not show",
    () =>
      Effect.gen(function* () {
        const { compute, result, source, write } = yield* setUp
        const hidden = new Set<number>()
        const events = arriving("video", source.video, 90_000, 0).map((event, i) => {
          const packet = Buffer.from(event.packet ?? [])
          const fragment = parseVp8Payload(parseRtp(packet)?.payload ?? packet)
          const [first = 0] = fragment?.data ?? []
          if (fragment?.begins !== "always" || (first & 1) === 0 || i % 5 !== 0) return event
          hidden.add(i)
          fragment.data[0] = first & ~0x10
          return { ...event, packet }
        })
        yield* write(events)
        const receipt = yield* compute()
        assert.isAbove(hidden.size, 10)
        const shownFrames = source.videoFrames - hidden.size
        assert.deepInclude(trackOf(receipt, "video"), { frames: source.videoFrames, shownFrames })
        assert.strictEqual((yield* probe(result(receipt))).streams.get(0)?.frames, shownFrames)
      }),
    patience
  )

  it.live(
    "leaves out what loss has broken, counts it, and keeps what still decodes",
    () =>
      Effect.gen(function* () {
        const { compute, events, result, source, write } = yield* setUp
        // Neither the first nor the last of a track: nobody can miss these. Where they fall depends on what ffmpeg encoded.
        const ends: ReadonlyArray<Uint8Array | undefined> = [source.video, source.audio].flatMap(
          (packets) => [packets.at(0), packets.at(-1)]
        )
        const kept = events.filter(({ packet }, i) => i % 37 !== 20 || ends.includes(packet))
        yield* write(kept)
        const receipt = yield* compute()
        const video = trackOf(receipt, "video")
        const audio = trackOf(receipt, "audio")
        assert.strictEqual(video.lostPackets + audio.lostPackets, events.length - kept.length)
        assert.strictEqual(audio.frames, source.audioFrames - audio.lostPackets)
        assert.isBelow(video.frames, source.videoFrames)
        // Frames that had to wait for a missing packet are still written where they belong.
        const times = yield* packetTimes(result(receipt))
        assert.deepStrictEqual(
          times,
          times.toSorted((a, b) => a - b)
        )
        const { afterLoss = 0, beforeKeyFrame = 0, incompleteFrame = 0 } = video.dropped
        assert.isAbove(incompleteFrame, 0)
        // A frame whose only packet was lost leaves no trace but the number of its packet.
        const accounted = video.frames + incompleteFrame + afterLoss + beforeKeyFrame
        assert.isAtMost(accounted, source.videoFrames)
        assert.isAtLeast(accounted, source.videoFrames - video.lostPackets)
      }),
    patience
  )

  it.live(
    "begins a video with its first key frame, and counts what came before",
    () =>
      Effect.gen(function* () {
        const { compute, events, source, write } = yield* setUp
        // The source has a key frame every two seconds.
        yield* write(events.filter((event) => event.atUs > 1_000 * ms))
        const receipt = yield* compute()
        const video = trackOf(receipt, "video")
        assert.strictEqual(video.offsetMs, 2_100)
        assert.strictEqual(video.frames, source.videoFrames - 50)
        assert.isAtLeast(video.dropped["beforeKeyFrame"] ?? 0, 20)
      }),
    patience
  )

  it.live(
    "has a receipt and no file for a recording without a packet, and for one without a key frame",
    () =>
      Effect.gen(function* () {
        const { compute, part, source, store, write } = yield* setUp
        yield* write([])
        const empty = yield* compute()
        assert.deepInclude(empty, { state: "Computed", tracks: [], bytes: 0, durationMs: 0 })
        assert.isUndefined(empty.file)
        assert.deepStrictEqual(published(store), ["receipt.json"])

        const blind = `${part}2`
        yield* write(arriving("video", source.video.slice(5, 20), 90_000, 0), {
          folder: blind,
          manifest: { recordingId: "blind" }
        })
        const receipt = yield* compute(blind)
        assert.isUndefined(receipt.file)
        assert.deepInclude(trackOf(receipt, "video"), { packets: 15, frames: 0 })
      }),
    patience
  )

  it.live(
    "computes a journal that was cut off and damaged, and says so in the receipt",
    () =>
      Effect.gen(function* () {
        const { compute, events, part, write } = yield* setUp
        yield* write(events, { seal: false })
        const journal = path.join(part, "journal.ebbj")
        const bytes = fs.readFileSync(journal)
        const middle = bytes.indexOf(0xeb, bytes.length / 2)
        bytes[middle + 40] = (bytes[middle + 40] ?? 0) ^ 0x10
        fs.writeFileSync(journal, bytes.subarray(0, -7))
        const receipt = yield* compute()
        const [own] = receipt.parts
        assert.strictEqual(own?.damagedRecords, 1)
        assert.isAbove(own?.tornBytes ?? 0, 0)
        assert.isUndefined(own?.sealed)
        assert.strictEqual(own?.packets, events.length - 2)
      }),
    patience
  )

  it.live(
    "stores a second part of a recording beside the first, and replaces neither",
    () =>
      Effect.gen(function* () {
        const { compute, events, part, store, write } = yield* setUp
        yield* write(events)
        const first = yield* compute()
        const other = `${part}-elsewhere`
        yield* write(events.slice(0, 200), { folder: other, manifest: { incarnation: "other", part: 1 } })
        const second = yield* compute(other)
        assert.strictEqual(first.file, "recording.webm")
        assert.strictEqual(second.file, "recording-1-other.webm")
        assert.deepStrictEqual(published(store), [
          "receipt-1-other.json",
          "receipt.json",
          "recording-1-other.webm",
          "recording.webm"
        ])
        assert.deepStrictEqual([yield* compute(), yield* compute(other)], [first, second])
      }),
    patience
  )

  it.live(
    "refuses a newer journal, a newer manifest, a missing one of each, and touches none of them",
    () =>
      Effect.gen(function* () {
        const { compute, part, write } = yield* setUp
        yield* write([])
        const journal = path.join(part, "journal.ebbj")
        const manifest = path.join(part, "manifest.json")
        const bytes = fs.readFileSync(journal)
        const text = fs.readFileSync(manifest, "utf8")
        const failsWith = Effect.fnUntraced(function* (tag: string) {
          assert.strictEqual((yield* Effect.flip(compute()))._tag, tag)
        })

        fs.writeFileSync(journal, Buffer.concat([Buffer.from("EBBJ\x02\0\0\0", "latin1"), bytes.subarray(8)]))
        yield* failsWith("UnsupportedFormat")
        fs.writeFileSync(journal, "something else altogether")
        yield* failsWith("RecordingFileInvalid")
        fs.writeFileSync(manifest, text.replace('"format": 1', '"format": 2'))
        yield* failsWith("UnsupportedFormat")
        fs.writeFileSync(manifest, "{")
        yield* failsWith("RecordingFileInvalid")
        fs.rmSync(manifest)
        yield* failsWith("ManifestMissing")
        fs.writeFileSync(
          manifest,
          text.replace('"state"', '"colour": "red", "state"').replace("Sealing", "Sleeping")
        )
        assert.strictEqual((yield* readManifest(part))?.state, "Unknown")
        fs.rmSync(journal)
        yield* failsWith("JournalMissing")
        fs.writeFileSync(journal, bytes)
        yield* compute()
        const kept: unknown = JSON.parse(fs.readFileSync(manifest, "utf8"))
        assert.deepInclude(kept, { colour: "red", state: "Computed" })
      }),
    patience
  )

  it.live(
    "leaves out a track that no decoder takes, and keeps those of the others",
    () =>
      Effect.gen(function* () {
        const { compute, events, part, source, write } = yield* setUp
        // Whole packets of a sender that sends rubbish: headers right, pictures not.
        yield* write(
          events.map((event) => {
            if (event.track !== "video") return event
            return { ...event, packet: Buffer.from(event.packet ?? []).fill(0xff, 26) }
          })
        )
        const receipt = yield* compute()
        assert.strictEqual(trackOf(receipt, "audio").frames, source.audioFrames)
        const video = trackOf(receipt, "video")
        assert.deepInclude(video, { frames: 0, dropped: { undecodable: source.videoFrames } })
        assert.isUndefined(video.stream)
        const { records } = yield* readAll(part)
        assert.strictEqual(records.filter((record) => record._tag === "Rtp").length, events.length)
      }),
    patience
  )

  it.live(
    "finds a file that is not what was muxed: cut off, damaged, or short of a frame",
    () =>
      Effect.gen(function* () {
        const { part, write, events } = yield* setUp
        yield* write(events)
        const journalFile = path.join(part, "journal.ebbj")
        const target = path.join(part, "muxed.webm")
        const nothing = () => Effect.void
        const index = yield* indexPart(journalFile, "keep", nothing)
        const recording = joinParts([index], new Set())
        const times = "timeline" as const
        const { streams } = yield* muxRecording({
          recording,
          lossPolicy: "keep",
          targets: [{ file: target, streams: recording.streams, times }],
          texts: [],
          software: "test",
          onProgress: nothing
        })
        assert.deepStrictEqual(yield* verify(target, streams, { times }), { problems: [], undecodable: [] })

        const [audio, video] = streams
        if (audio === undefined || video === undefined) throw new Error("two streams were muxed")
        const more = yield* verify(target, [audio, { ...video, shownFrames: 151 }], { times })
        assert.deepStrictEqual(more.undecodable, [video.track.index])
        assert.include(more.problems.join(), "150 frames instead of 151")
        const longer = yield* verify(target, [audio, { ...video, endMs: video.endMs + 300 }], { times })
        assert.include(longer.problems.join(), "the duration")

        const bytes = fs.readFileSync(target)
        const middle = Math.floor(bytes.length / 2)
        fs.writeFileSync(target, bytes.subarray(0, middle))
        assert.isAbove((yield* verify(target, streams, { times })).problems.length, 0)
        fs.writeFileSync(target, Buffer.from(bytes).fill(0xff, middle, middle + 3000))
        assert.isAbove((yield* verify(target, streams, { times })).problems.length, 0)
      }),
    patience
  )
})

/** The times of a file's packets, in seconds, in the order in which they lie in the file. */
const packetTimes = (file: string) =>
  Effect.sync(() =>
    execFileSync("ffprobe", ["-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=p=0", file], {
      encoding: "utf8"
    })
      .trim()
      .split("\n")
      .map((line) => Number.parseFloat(line))
  )

/** The same packet with its counters moved, so that they wrap around in the middle. */
const renumbered = (packet: Uint8Array | undefined, sequence: number, timestamp: number): Uint8Array => {
  const copy = Buffer.from(packet ?? [])
  const first = bases.get(copy.readUInt32BE(8)) ?? {
    sequence: copy.readUInt16BE(2),
    timestamp: copy.readUInt32BE(4)
  }
  bases.set(copy.readUInt32BE(8), first)
  copy.writeUInt16BE((copy.readUInt16BE(2) - first.sequence + sequence + 65_536) % 65_536, 2)
  copy.writeUInt32BE((copy.readUInt32BE(4) - first.timestamp + timestamp + 2 ** 32) % 2 ** 32, 4)
  return copy
}
const bases = new Map<number, { readonly sequence: number; readonly timestamp: number }>()
