/**
 * The parts that are computed together: in the order of the recording, each under its lock, and the receipt that they may have already. A receipt
 * lies beside the result and, as a copy, in the folder of each part that it covers.
 */
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import * as path from "node:path"
import { JournalMissing, ManifestMissing, RecordingFileInvalid } from "../MediaError.ts"
import { lockFolder } from "./FolderLock.ts"
import { sizeIfThere } from "./internal/disk.ts"
import { journalName } from "./JournalFormat.ts"
import type { Manifest } from "./Manifest.ts"
import { readManifest, setManifestState } from "./Manifest.ts"
import { coversParts, readReceipt, receiptName, writeReceipt } from "./Receipt.ts"
import type { Receipt } from "./Receipt.ts"
import { RecordingStore } from "./RecordingStore.ts"

export interface Part {
  readonly folder: string
  readonly journalFile: string
  readonly manifest: Manifest
}

/** In a part's folder, held by whoever computes it. */
export const computeLock = "compute.lock"

/** In a part's folder: what is made of it before it is stored. */
export const stagedName = ".staged"

/** At least one, locked until the scope closes; whoever computes one of them at this moment is waited for. */
export const openParts = Effect.fnUntraced(function* (folders: ReadonlyArray<string>) {
  const parts = yield* Effect.forEach([...new Set(folders)], (folder) => {
    const journalFile = path.join(folder, journalName)
    return Effect.map(requireManifest(folder, journalFile), (manifest): Part => ({
      folder,
      journalFile,
      manifest
    }))
  })
  const [first] = parts
  if (first === undefined) {
    return yield* new RecordingFileInvalid({ path: "", detail: "there is no part to compute" })
  }
  const { recordingId } = first.manifest
  // In one order, whoever locks them: two computations that share parts must not wait for each other.
  for (const { folder, manifest } of parts.toSorted((a, b) => compareText(a.folder, b.folder))) {
    if (manifest.recordingId !== recordingId) {
      const detail = `it is of recording ${manifest.recordingId}, and not of ${recordingId}`
      return yield* new RecordingFileInvalid({ path: folder, detail })
    }
    yield* lockFolder(folder, {
      name: computeLock,
      holder: { pid: process.pid },
      waitSeconds: Infinity
    }).pipe(Effect.catchTag("FolderHeld", () => Effect.fail(new JournalMissing({ folder, recordingId }))))
  }
  const [earliest = first, ...later] = parts.toSorted(
    ({ manifest: a }, { manifest: b }) =>
      a.part - b.part || a.startedAt - b.startedAt || compareText(a.incarnation, b.incarnation)
  )
  return [earliest, ...later] as const
})

const compareText = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)

const requireManifest = Effect.fnUntraced(function* (partFolder: string, journalFile: string) {
  const manifest = yield* readManifest(partFolder)
  if (manifest !== undefined) return manifest
  const journalBytes = (yield* sizeIfThere(journalFile)) ?? 0
  return yield* new ManifestMissing({ folder: partFolder, journalBytes })
})

/** What tells the files of these parts from those of others of the recording. */
export const nameOf = (parts: ReadonlyArray<Part>): string => {
  const names = parts.map(({ manifest: { incarnation, part } }) => `${part}-${incarnation}`)
  if (names.length === 1) return names.join()
  return `joined-${createHash("sha256").update(names.join()).digest("hex").slice(0, 12)}`
}

/** One that covers them all: a part's own copy, or the store's, because a computation may have been killed between the two. */
export const findReceipt = Effect.fnUntraced(function* (parts: ReadonlyArray<Part>) {
  const manifests = parts.map(({ manifest }) => manifest)
  const owns = yield* Effect.forEach(parts, ({ folder }) => readReceipt(path.join(folder, receiptName)))
  // Of more parts than these is as good.
  const covering = owns.find((own) => own !== undefined && manifests.every((each) => coversPart(own, each)))
  if (covering !== undefined) {
    const lacking = parts.filter((_, at) => owns[at]?.computedAt !== covering.computedAt)
    yield* finishParts(lacking, covering)
    return covering
  }
  const store = yield* RecordingStore
  for (const receipt of (yield* store.receipts(manifests[0]?.recordingId ?? "")).values()) {
    if (!coversParts(receipt, manifests)) continue
    yield* finishParts(parts, receipt)
    return receipt
  }
  return undefined
})

const coversPart = (receipt: Receipt, { incarnation, part }: Manifest) =>
  receipt.parts.some((own) => own.incarnation === incarnation && own.part === part)

export const finishParts = Effect.fnUntraced(function* (parts: ReadonlyArray<Part>, receipt: Receipt) {
  for (const { folder } of parts) {
    yield* writeReceipt(path.join(folder, receiptName), receipt)
    yield* setManifestState(folder, "Computed")
  }
})
