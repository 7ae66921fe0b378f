/**
 * The thread that writes journals: takes what the capturing thread has queued and appends it, one synchronous write per record, so that what
 * it has taken survives a `kill -9`. It may be held up by the disk for as long as that likes; nobody waits for it.
 *
 * A write that fails is a gap: counted in the shared memory, written down as soon as the disk takes something again. Starts fast: it
 * imports nothing but Node and the frame of a record.
 */
import * as fs from "node:fs"
import { parentPort, workerData } from "node:worker_threads"
import type { Entry } from "../JournalQueue.ts"
import { entryKind, fileCounters, makeQueueOutput } from "../JournalQueue.ts"
import { encodeMap, recordHeaderBytes, recordMarker, recordType, sealHeader } from "./recordBytes.ts"

/** Given to a thread when it starts. After another's death its files are open already. */
export interface WritingThreadData {
  readonly memory: SharedArrayBuffer
  readonly files: ReadonlyArray<{ readonly file: number; readonly fd: number }>
}

export interface DiskError {
  readonly operation: string
  readonly code: string
  readonly detail: string
}

export type WritingThreadMessage =
  /** The first refusal of a file. */
  | { readonly _tag: "Refused"; readonly file: number; readonly error: DiskError }
  /** All before the barrier is written or counted as lost. `owing`: the disk refuses to this moment. */
  | { readonly _tag: "Barrier"; readonly token: number; readonly owing: DiskError | undefined }
  | { readonly _tag: "Room" }

/** What the disk refused and wants again, in its order: a record that packets mean nothing without, or how many packets are lost. */
type Owed =
  | { readonly bytes: Uint8Array; readonly lost?: never }
  | { readonly bytes?: never; lost: number; readonly reason: string }

interface OpenFile {
  readonly fd: number
  readonly counters: ReturnType<typeof fileCounters>
  /** Up to here there are whole records. */
  length: number
  readonly owed: Array<Owed>
  /** Of the last record: a gap that is told without one came then. */
  arrivalUs: number
  hasRefused: boolean
  lastError: DiskError | undefined
}

const { files: openBefore, memory } = workerData as WritingThreadData
const output = makeQueueOutput(memory)
const files = new Map<number, OpenFile>()
const say = (message: WritingThreadMessage) => parentPort?.postMessage(message)

const begin = (file: number, fd: number, length: number) => {
  const counters = fileCounters(memory, file)
  const untold = counters.refused() + counters.notQueued() - counters.told()
  const owed: Array<Owed> = untold > 0 ? [{ lost: untold, reason: "ThreadDied" }] : []
  files.set(file, { fd, counters, length, owed, arrivalUs: 0, hasRefused: false, lastError: undefined })
}
for (const { fd, file } of openBefore) begin(file, fd, fs.fstatSync(fd).size)

/** All of it or nothing: a short write is cut off again, and if even that fails the reader finds its way past it. */
const write = (to: OpenFile, bytes: Uint8Array): boolean => {
  try {
    let done = 0
    while (done < bytes.length) done += fs.writeSync(to.fd, bytes, done, bytes.length - done)
    to.length += bytes.length
    return true
  } catch (cause) {
    to.lastError = diskError("append to", cause)
    try {
      fs.ftruncateSync(to.fd, to.length)
    } catch {
      // The first error is the one to tell.
    }
    return false
  }
}

const diskError = (operation: string, cause: unknown): DiskError => ({
  operation,
  code: cause instanceof Error && "code" in cause ? String(cause.code) : "Unknown",
  detail: cause instanceof Error ? cause.message : String(cause)
})

/** Writes what earlier refusals left owing. */
const catchUp = (to: OpenFile): boolean => {
  for (let first = to.owed[0]; first !== undefined; first = to.owed[0]) {
    if (!write(to, first.bytes ?? gapRecord(first, to.arrivalUs))) return false
    to.owed.shift()
    if (first.lost !== undefined) to.counters.addTold(first.lost)
  }
  return true
}

const gapRecord = ({ lost, reason }: Extract<Owed, { lost: number }>, arrivalUs: number): Uint8Array => {
  const payload = encodeMap({ packets: lost, reason })
  const record = Buffer.alloc(recordHeaderBytes + payload.length)
  record.set(payload, recordHeaderBytes)
  sealHeader(record, recordType.gap, 0, arrivalUs, payload.length)
  return record
}

/** Of packets in a row that are lost, the first reason counts. True: a row begins. */
const owePackets = ({ owed }: OpenFile, packets: number, reason: string): boolean => {
  const last = owed.at(-1)
  if (last?.lost === undefined) owed.push({ lost: packets, reason })
  else last.lost += packets
  return last?.lost === undefined
}

const append = (to: OpenFile, { bytes, file, kind }: Entry): void => {
  if (bytes[0] === recordMarker) to.arrivalUs = arrivalOf(bytes)
  if (catchUp(to) && write(to, bytes)) {
    to.lastError = undefined
    return
  }
  const error = to.lastError
  if (kind === entryKind.must) to.owed.push({ bytes: Uint8Array.from(bytes) })
  if (kind === entryKind.packet) {
    to.counters.addRefused(1)
    if (owePackets(to, 1, error?.code ?? "Unknown")) to.counters.addGap()
  }
  if (to.hasRefused || error === undefined) return
  to.hasRefused = true
  say({ _tag: "Refused", file, error })
}

const arrivalOf = (record: Uint8Array): number => {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength)
  return view.getUint32(8) * 2 ** 32 + view.getUint32(12)
}

const visit = (entry: Entry): void => {
  const { argument, file, kind } = entry
  if (kind === entryKind.begin) return begin(file, argument, 0)
  // It may be of a file that had ended when this thread took over.
  if (kind === entryKind.end) return void files.delete(file)
  const to = files.get(file)
  if (to === undefined) throw new Error(`BUG: the queue speaks of file ${file}, which has not begun`)
  switch (kind) {
    case entryKind.packet:
    case entryKind.must:
    case entryKind.soft:
      return append(to, entry)
    case entryKind.lost:
      to.counters.addNotQueued(argument)
      owePackets(to, argument, "QueueFull")
      return
    case entryKind.barrier: {
      const owing = catchUp(to) ? undefined : to.lastError
      return say({ _tag: "Barrier", token: argument, owing })
    }
    default:
      throw new Error(`BUG: the queue has an entry of kind ${kind}`)
  }
}

do output.takeAll(visit, () => say({ _tag: "Room" }))
while (output.sleep())
