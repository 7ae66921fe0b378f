/**
 * A bounded queue of bytes in shared memory, from the thread that captures to the thread that writes: one puts, one takes. Neither ever waits
 * for the other to get on; who takes may sleep until something comes. What is put is copied, and taken in the order of putting.
 *
 * A ring. `head` and `tail` count units of 16 bytes for ever, modulo 2^32. An entry lies in one piece: what is left before the end of the ring
 * is skipped for one that does not fit there.
 */

/** What an entry asks of the thread that writes. */
export const entryKind = {
  /** Go on at the ring's beginning. */
  skip: 0,
  /** Append; when the disk refuses it is lost, and counted. */
  packet: 1,
  /** Append; when the disk refuses, before anything else once it takes something again. */
  must: 2,
  /** Append; when the disk refuses, leave it. */
  soft: 3,
  /** `argument` packets did not fit into the queue. */
  lost: 4,
  /** A file of descriptor `argument` begins. */
  begin: 5,
  /** Say `argument` back, and how the file is, when all before is done. */
  barrier: 6,
  /** The file gets no more. */
  end: 7
} as const

export interface Entry {
  readonly kind: number
  readonly file: number
  readonly argument: number
  /** In the ring: to be copied if it is to be kept. */
  readonly bytes: Uint8Array
}

const unit = 16
const words = { head: 0, tail: 1, stop: 2, wantsRoom: 3, busySinceMs: 4, isBusy: 5 } as const
const wordBytes = 64
const slotWords = 4
/** At most so many files at once. */
export const maxFiles = 4096

const layout = (queueBytes: number) => {
  const slotsAt = wordBytes
  const ringAt = slotsAt + maxFiles * slotWords * 4
  return { slotsAt, ringAt, total: ringAt + queueBytes }
}

/** A power of two: positions wrap at 2^32. */
export const roundedQueueBytes = (bytes: number): number =>
  Math.min(2 ** 31, Math.max(2 ** 16, 2 ** Math.ceil(Math.log2(bytes))))

export const makeQueueMemory = (queueBytes: number): SharedArrayBuffer =>
  new SharedArrayBuffer(layout(roundedQueueBytes(queueBytes)).total)

const views = (memory: SharedArrayBuffer) => {
  const { ringAt, slotsAt } = layout(0)
  const ringBytes = memory.byteLength - ringAt
  return {
    control: new Int32Array(memory, 0, wordBytes / 4),
    slots: new Int32Array(memory, slotsAt, maxFiles * slotWords),
    ring: new Uint8Array(memory, ringAt, ringBytes),
    heads: new DataView(memory, ringAt, ringBytes),
    units: ringBytes / unit
  }
}

/** What the thread that writes has counted of a file; kept here, so that it outlives that thread. */
export const fileCounters = (memory: SharedArrayBuffer, file: number) => {
  const { slots } = views(memory)
  const at = file * slotWords
  const read = (word: number) => Atomics.load(slots, at + word)
  const add = (word: number, count: number) => Atomics.add(slots, at + word, count)
  return {
    /** Packets that the disk refused, and in how many rows. */
    refused: () => read(0),
    gaps: () => read(1),
    /** Packets that did not fit into the queue, as far as the thread that writes has heard of them. */
    notQueued: () => read(2),
    /** Of both, those that a gap in the journal tells of. */
    told: () => read(3),
    addRefused: (packets: number) => add(0, packets),
    addGap: () => add(1, 1),
    addNotQueued: (packets: number) => add(2, packets),
    addTold: (packets: number) => add(3, packets),
    reset: () => slots.fill(0, at, at + slotWords)
  }
}

/** Milliseconds of the monotonic clock, of which only differences count: the same in all threads. */
const nowMs = () => Number(process.hrtime.bigint() / 1_000_000n) | 0

/** The end that puts. */
export const makeQueueInput = (memory: SharedArrayBuffer) => {
  const { control, heads, ring, units } = views(memory)
  let head = Atomics.load(control, words.head) >>> 0
  const header = (at: number, kind: number, file: number, argument: number, bytes: number) => {
    heads.setUint32(at, bytes)
    heads.setUint32(at + 4, kind)
    heads.setUint32(at + 8, file)
    heads.setUint32(at + 12, argument)
  }
  const put = (kind: number, file: number, argument: number, bytes: Uint8Array | undefined, size: number) => {
    const length = 1 + Math.ceil(size / unit)
    const tail = Atomics.load(control, words.tail) >>> 0
    const at = head % units
    const left = units - at
    // An empty queue begins at the ring's beginning again: memory is used for what waits, not for what was.
    const skipped = left < length || (head === tail && at * unit > 1 << 20) ? left : 0
    if (((head - tail) >>> 0) + skipped + length > units) return false
    if (skipped > 0) header(at * unit, entryKind.skip, 0, 0, 0)
    const from = skipped > 0 ? 0 : at * unit
    header(from, kind, file, argument, size)
    if (bytes !== undefined) ring.set(bytes.subarray(0, size), from + unit)
    head = (head + skipped + length) >>> 0
    Atomics.store(control, words.head, head | 0)
    Atomics.notify(control, words.head)
    return true
  }
  return {
    /** More never fits. */
    maxBytes: Math.floor(units / 8) * unit,
    /** False: it is full. Nothing was put, and whoever takes will say when there is room. */
    put: (
      kind: number,
      file: number,
      argument = 0,
      bytes?: Uint8Array,
      size = bytes?.length ?? 0
    ): boolean => {
      if (put(kind, file, argument, bytes, size)) return true
      Atomics.store(control, words.wantsRoom, 1)
      // There may have been room made in between, by one that then did not know.
      return put(kind, file, argument, bytes, size)
    },
    queuedBytes: (): number => ((head - Atomics.load(control, words.tail)) >>> 0) * unit,
    /** For how long the entry that is being worked at has been; 0 when none is. */
    stalledMs: (): number =>
      Atomics.load(control, words.isBusy) === 0
        ? 0
        : Math.max(0, (nowMs() - Atomics.load(control, words.busySinceMs)) | 0),
    stop: () => {
      Atomics.store(control, words.stop, 1)
      Atomics.notify(control, words.head)
    }
  }
}
export type QueueInput = ReturnType<typeof makeQueueInput>

/** The end that takes. */
export const makeQueueOutput = (memory: SharedArrayBuffer) => {
  const { control, heads, ring, units } = views(memory)
  return {
    /** Takes all that is there; an entry counts as taken when `visit` has returned. `roomMade`: somebody waits for it. */
    takeAll: (visit: (entry: Entry) => void, roomMade: () => void): void => {
      for (;;) {
        const tail = Atomics.load(control, words.tail) >>> 0
        const head = Atomics.load(control, words.head) >>> 0
        if (head === tail) break
        const at = (tail % units) * unit
        const size = heads.getUint32(at)
        const kind = heads.getUint32(at + 4)
        const isSkip = kind === entryKind.skip
        if (!isSkip) {
          Atomics.store(control, words.busySinceMs, nowMs())
          Atomics.store(control, words.isBusy, 1)
          visit({
            kind,
            file: heads.getUint32(at + 8),
            argument: heads.getUint32(at + 12),
            bytes: ring.subarray(at + unit, at + unit + size)
          })
        }
        const taken = isSkip ? units - (tail % units) : 1 + Math.ceil(size / unit)
        Atomics.store(control, words.tail, (tail + taken) | 0)
        const free = units - ((head - tail - taken) >>> 0)
        if (free * 4 >= units && Atomics.compareExchange(control, words.wantsRoom, 1, 0) === 1) roomMade()
      }
      Atomics.store(control, words.isBusy, 0)
    },
    /** Until there is something; false: it is to end. The limit is for a `stop` that came just before. */
    sleep: (): boolean => {
      const tail = Atomics.load(control, words.tail)
      if (Atomics.load(control, words.stop) === 0) Atomics.wait(control, words.head, tail, 1000)
      return Atomics.load(control, words.head) !== tail || Atomics.load(control, words.stop) === 0
    }
  }
}
