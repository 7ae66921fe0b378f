/**
 * What a media node tells of itself, beside what the runtime tells of its actors (`Metrics` of @ebb/actors, with the same rules: read when
 * somebody looks, no label holds an id).
 *
 * | name                            | type      | labels           | meaning                                                        |
 * | ------------------------------- | --------- | ---------------- | -------------------------------------------------------------- |
 * | `ebb_node_info`                 | gauge     | version          | 1; the release it runs                                         |
 * | `ebb_node_ready`                | gauge     |                  | 1 while it takes new rooms: what /readyz says                  |
 * | `ebb_rooms`                     | gauge     |                  | rooms that live here                                           |
 * | `ebb_recordings`                | gauge     | state            | recordings that live here: Capturing, Sealing, ...             |
 * | `ebb_recordings_ended_total`    | counter   | outcome          | computed (the receipt is stored), or failed (journal kept)     |
 * | `ebb_recordings_unfinished`     | gauge     |                  | without a receipt, and nobody works on them; 10 s old at most  |
 * | `ebb_recordings_refused_total`    | counter   | error            | recordings that could not begin, by the error's `_tag` |
 * | `ebb_recorded_packets_total`      | counter   |                  | RTP packets written to journals |
 * | `ebb_recorded_bytes_total`        | counter   |                  | bytes written to journals |
 * | `ebb_recording_gaps_total`        | counter   |                  | times that a journal could not be written to |
 * | `ebb_recording_lost_packets_total` | counter   |                  | packets that were lost by it |
 * | `ebb_computing`                   | gauge     | state            | computations: running, or waiting for their turn |
 * | `ebb_compute_wait_seconds`        | gauge     |                  | of the one that has waited the longest for its turn |
 * | `ebb_computations_total`          | counter   | outcome          | computations that ended: computed, failed, interrupted |
 * | `ebb_computation_seconds_total`   | counter   | outcome          | how long they ran together |
 * | `ebb_disk_free_bytes`             | gauge     |                  | left for this process on the disk of its data folder; 5 s old |
 * | `ebb_disk_size_bytes`             | gauge     |                  | of that disk |
 * | `ebb_disk_wanted_bytes`           | gauge     |                  | that a new recording needs to find free: see `DiskRoom` |
 * | `ebb_disk_stalled_seconds`        | gauge     |                  | for which the disk has held up the write to a journal that is under way |
 * | `ebb_journal_queue_bytes`         | gauge     |                  | of journals that wait for the disk in memory |
 * | `ebb_media_workers`             | gauge     | state            | mediasoup's worker processes: up, or down and being replaced   |
 * | `ebb_media_worker_deaths_total` | counter   |                  | worker processes that died, and their rooms with them          |
 * | `ebb_commands_total`            | counter   | command, outcome | control commands answered here: ok, or the `_tag` of the error |
 * | `ebb_command_seconds`           | histogram | command          | from a command's arrival to its answer                         |
 */
import { counterOf, histogramOf, type Instrument } from "@ebb/actors"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Metric from "effect/Metric"

export const mediaInstruments = {
  info: { name: "ebb_node_info", help: "The release this node runs, as its operator calls it" },
  ready: { name: "ebb_node_ready", help: "1 while this node takes new rooms" },
  rooms: { name: "ebb_rooms", help: "Rooms that live here" },
  recordings: { name: "ebb_recordings", help: "Recordings that live here, by state" },
  recordingsEnded: {
    name: "ebb_recordings_ended_total",
    help: "Recordings that ended: computed with a receipt, or failed with their journal kept"
  },
  recordingsUnfinished: {
    name: "ebb_recordings_unfinished",
    help: "Recordings without a receipt that nobody works on; their journals are kept"
  },
  recordingsRefused: {
    name: "ebb_recordings_refused_total",
    help: "Recordings that could not begin, by the error's tag"
  },
  recordedPackets: { name: "ebb_recorded_packets_total", help: "RTP packets written to journals" },
  recordedBytes: { name: "ebb_recorded_bytes_total", help: "Bytes written to journals" },
  recordingGaps: { name: "ebb_recording_gaps_total", help: "Times that a journal could not be written to" },
  recordingLostPackets: {
    name: "ebb_recording_lost_packets_total",
    help: "Packets that are in no journal because it could not be written to"
  },
  computing: { name: "ebb_computing", help: "Computations of recordings, running or waiting for their turn" },
  computeWait: {
    name: "ebb_compute_wait_seconds",
    help: "How long the recording that has waited the longest waits for its computation"
  },
  computations: { name: "ebb_computations_total", help: "Computations of recordings that ended, by outcome" },
  computationSeconds: {
    name: "ebb_computation_seconds_total",
    help: "How long the computations that ended ran together"
  },
  diskFree: { name: "ebb_disk_free_bytes", help: "Left for this process on the disk of its data folder" },
  diskWanted: {
    name: "ebb_disk_wanted_bytes",
    help: "What the recordings that run may still want of the disk, and the floor: less free than that, and new ones are refused"
  },
  diskStalled: {
    name: "ebb_disk_stalled_seconds",
    help: "For how long the disk has held up the write to a journal that is under way"
  },
  journalQueue: { name: "ebb_journal_queue_bytes", help: "What of journals waits for the disk in memory" },
  diskSize: { name: "ebb_disk_size_bytes", help: "Size of the disk of the data folder" },
  workers: { name: "ebb_media_workers", help: "Worker processes of mediasoup, up or being replaced" },
  workerDeaths: { name: "ebb_media_worker_deaths_total", help: "Worker processes of mediasoup that died" },
  commands: { name: "ebb_commands_total", help: "Control commands answered here, by outcome" },
  commandSeconds: { name: "ebb_command_seconds", help: "From a control command's arrival to its answer" }
} as const satisfies Record<string, Instrument>

/** Records control commands. `command` and `outcome` are words of the protocol, never what a client sent. */
export const commandMetrics: Effect.Effect<(command: string, outcome: string, seconds: number) => void> =
  Effect.contextWith((context: Context.Context<never>) =>
    Effect.sync(() => {
      const counters = new Map<string, Metric.Counter<number>>()
      const histograms = new Map<string, Metric.Histogram<number>>()
      const made = <M>(all: Map<string, M>, key: string, make: () => M): M => {
        const known = all.get(key) ?? make()
        all.set(key, known)
        return known
      }
      return (command, outcome, seconds) => {
        made(counters, `${command} ${outcome}`, () =>
          counterOf(mediaInstruments.commands, { command, outcome })
        ).updateUnsafe(1, context)
        made(histograms, command, () =>
          histogramOf(mediaInstruments.commandSeconds, { command })
        ).updateUnsafe(seconds, context)
      }
    })
  )
