/**
 * Reads a journal from disk in batches of bounded size, so that its length costs no memory. The end of a batch is also where
 * other fibers run and an interruption takes effect.
 */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as fsp from "node:fs/promises"
import type { RecordingStorageError } from "../MediaError.ts"
import { RecordingFileInvalid, UnsupportedFormat } from "../MediaError.ts"
import { attempt } from "./internal/disk.ts"
import { fileHeader, journalMajor } from "./JournalFormat.ts"
import type { JournalRecord } from "./JournalFormat.ts"
import { checkFileHeader, makeJournalParser } from "./JournalParser.ts"
import type { JournalStats } from "./JournalParser.ts"

/** Small, because a frame that waits keeps the whole chunk it points into. */
const chunkBytes = 1 << 16

export interface JournalReader {
  /** Final once `forEach` has ended. */
  readonly stats: Readonly<JournalStats>
  /** Hands over a batch of intact records in the order of the file. False: there are no more. */
  readonly next: (visit: (record: JournalRecord) => void) => Effect.Effect<boolean, RecordingStorageError>
  /**
   * Hands over every intact record in the order of the file, and after each batch runs `afterBatch` with the bytes read so far. To
   * be run once, and not beside `next`.
   */
  readonly forEach: <E = never>(
    visit: (record: JournalRecord) => void,
    afterBatch?: (bytesRead: number) => Effect.Effect<void, E>
  ) => Effect.Effect<void, RecordingStorageError | E>
}

/** A file shorter than its header is an empty journal with a torn tail. */
export const openJournal = (
  file: string
): Effect.Effect<
  JournalReader,
  RecordingStorageError | RecordingFileInvalid | UnsupportedFormat,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const handle = yield* Effect.acquireRelease(
      attempt("open", file, () => fsp.open(file, "r")),
      (open) => Effect.promise(() => open.close())
    )
    const read = (into: Buffer) =>
      attempt("read", file, () => handle.read(into, 0, into.length, null)).pipe(
        Effect.map(({ bytesRead }) => into.subarray(0, bytesRead))
      )

    const header = yield* read(Buffer.alloc(fileHeader.length))
    const verdict = checkFileHeader(header)
    if (verdict._tag === "notAJournal") {
      return yield* new RecordingFileInvalid({ path: file, detail: "does not begin as a journal" })
    }
    if (verdict._tag === "newer") {
      return yield* new UnsupportedFormat({ path: file, version: verdict.version, supported: journalMajor })
    }

    const parser = makeJournalParser()
    const next = Effect.fnUntraced(function* (visit: (record: JournalRecord) => void) {
      // A new buffer each time: records keep pointing into it.
      const chunk = yield* read(Buffer.allocUnsafeSlow(chunkBytes))
      const records = chunk.length === 0 ? parser.end() : parser.push(chunk)
      records.forEach(visit)
      return chunk.length > 0
    })
    const forEach = Effect.fnUntraced(function* <E = never>(
      visit: (record: JournalRecord) => void,
      afterBatch: (bytesRead: number) => Effect.Effect<void, E> = () => Effect.void
    ) {
      while (yield* next(visit)) yield* afterBatch(parser.stats.bytes)
    })
    const tornHeader = header.length < fileHeader.length ? header.length : 0
    return {
      get stats() {
        return { ...parser.stats, tornBytes: parser.stats.tornBytes + tornHeader }
      },
      next,
      forEach
    }
  })
