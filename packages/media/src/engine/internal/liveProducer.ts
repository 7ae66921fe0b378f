/** A producer in its worker: its counters as last seen, and its sender's reports on the way to the captures of it. */
import type { PlainTransport, Producer, ProducerTraceEventData } from "mediasoup/types"
import type { ProducerInfo, ProducerReport, SenderReport } from "../RoomMedia.ts"

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

export class LiveProducer {
  readonly info: ProducerInfo
  readonly transport: PlainTransport
  readonly producer: Producer
  readonly #takers = new Set<ReportTaker>()
  readonly #lastReports = new Map<number, ReceivedReport>()
  #packets = 0
  #grewAt = performance.now()

  constructor(info: ProducerInfo, transport: PlainTransport, producer: Producer) {
    this.info = info
    this.transport = transport
    this.producer = producer
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
    return { ...this.info, packetsReceived: packets, silentMs: now - this.#grewAt }
  }

  #trace(event: ProducerTraceEventData): void {
    if (event.type !== "sr") return
    const report = received(event.info)
    this.#lastReports.set(report.ssrc, report)
    for (const taker of this.#takers) this.#give(taker, report)
  }

  #give(taker: ReportTaker, { ntpMs, receivedAt, rtpTimestamp, ssrc: sent }: ReceivedReport): void {
    const encodings = this.producer.rtpParameters.encodings ?? []
    const ssrc = taker.ssrcs[encodings.findIndex((encoding) => encoding.ssrc === sent)]
    if (ssrc === undefined) return
    taker.take({ ssrc, ntpMs, rtpTimestamp, ageMs: performance.now() - receivedAt })
  }
}
