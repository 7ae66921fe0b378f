/** A producer in its worker: its counters as last seen, and its sender's reports on the way to the captures of it. */
import type { DataProducer, Producer, ProducerTraceEventData } from "mediasoup/types"
import type { DataProducerInfo, ProducerInfo, ProducerReport, SenderReport } from "../RoomMedia.ts"

/** RFC 3550, section 4: NTP counts from 1900. */
const ntpEpochSeconds = 2_208_988_800

/** A report as it came. `ssrc` is the sender's. */
interface ReceivedReport {
  readonly ssrc: number
  readonly ntpMs: number
  readonly rtpTimestamp: number
  readonly receivedAt: number
}

/** Numbers that mediasoup gives without a type. */
const received = (info: Record<string, unknown>): ReceivedReport => ({
  ssrc: Number(info["ssrc"]),
  ntpMs: (Number(info["ntpSec"]) - ntpEpochSeconds) * 1000 + (Number(info["ntpFrac"]) / 2 ** 32) * 1000,
  rtpTimestamp: Number(info["rtpTs"]),
  receivedAt: performance.now()
})

export interface ReportTaker {
  /** The SSRCs that stand for the sender's, in the order of its encodings. */
  readonly ssrcs: ReadonlyArray<number>
  readonly take: (report: SenderReport) => void
}

/** A data producer has no counters of its own here. */
export interface LiveData {
  readonly info: DataProducerInfo
  readonly producer: DataProducer
  readonly transportId: string
  readonly close: () => void
}

export class LiveProducer {
  readonly info: ProducerInfo
  readonly producer: Producer
  /** Of the WebRTC transport that it came by. Undefined: it has a port of its own. */
  readonly transportId: string | undefined
  /** Closes what it came by, as far as that is its own. */
  readonly close: () => void
  readonly #takers = new Set<ReportTaker>()
  readonly #lastReports = new Map<number, ReceivedReport>()
  #packets = 0
  #grewAt = performance.now()

  constructor(
    info: ProducerInfo,
    producer: Producer,
    by: { readonly transportId?: string; readonly close: () => void }
  ) {
    this.info = info
    this.producer = producer
    this.transportId = by.transportId
    this.close = by.close
    producer.on("trace", (event) => this.#trace(event))
  }

  /** Gives the last report of each stream at once, so that a capture need not wait seconds for its clock. */
  addTaker(taker: ReportTaker): void {
    this.#takers.add(taker)
    for (const report of this.#lastReports.values()) this.#give(taker, report)
  }

  removeTaker(taker: ReportTaker): void {
    this.#takers.delete(taker)
  }

  /** `packets` is what the worker has counted. */
  report(packets: number): ProducerReport {
    const now = performance.now()
    if (packets > this.#packets) {
      this.#packets = packets
      this.#grewAt = now
    }
    return {
      ...this.info,
      packetsReceived: packets,
      silentMs: now - this.#grewAt,
      muted: this.producer.paused
    }
  }

  #trace(event: ProducerTraceEventData): void {
    if (event.type !== "sr") return
    const report = received(event.info)
    this.#lastReports.set(report.ssrc, report)
    for (const taker of this.#takers) this.#give(taker, report)
  }

  #give(taker: ReportTaker, { ntpMs, receivedAt, rtpTimestamp, ssrc: sent }: ReceivedReport): void {
    // A sender that names its streams by `rid` gives no SSRCs beforehand: the worker tells each with the stream's first packet.
    const stream = this.producer.score.find((score) => score.ssrc === sent)
    const encodings = this.producer.rtpParameters.encodings ?? []
    const index = stream?.encodingIdx ?? encodings.findIndex((encoding) => encoding.ssrc === sent)
    const ssrc = taker.ssrcs[index]
    if (ssrc === undefined) return
    taker.take({ ssrc, ntpMs, rtpTimestamp, ageMs: performance.now() - receivedAt })
  }
}
