/**
 * `EventLog` on a JetStream stream of its own, on disk, kept for ever; every call ends within `callMs`. A subject's end is guarded
 * by the server: `expected last subject sequence`.
 *
 * The stream is made when it is first needed, so a server whose store was lost has an empty log, not a broken one.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { consumerOpts, type NatsError, RetentionPolicy, StorageType } from "nats"
import { KeyConflict, RegistryUnavailable } from "../ActorError.ts"
import { type Id, wireVersion } from "../Address.ts"
import { EventLog, type LoggedEvent } from "../EventLog.ts"
import { NatsConnection } from "./NatsConnection.ts"
import { explained, type Replicated, replicasOf } from "./replicas.ts"

export interface NatsEventLogOptions extends Replicated {
  readonly cluster: Id
  /** Which of the cluster's logs: subjects are `ebb.v1.<cluster>.<log>.<subject>`. An id. */
  readonly log: Id
}

const callMs = 5_000
/**
 * How long a read waits for the server's next word before it asks anew, in milliseconds. A stream without a leader says nothing, and a
 * consumer made while there was none may say nothing for good.
 */
const silenceMs = 1_000

/** Server error codes (`err_code`). */
const wrongLastSequence = 10071
const noMessageFound = 10037
const streamNotFound = 10059

type CallError = "Conflict" | "Absent" | "Missing" | RegistryUnavailable

const callError = (cause: unknown): CallError => {
  const error: Partial<NatsError> = cause instanceof Error ? cause : {}
  switch (error.api_error?.err_code) {
    case wrongLastSequence:
      return "Conflict"
    case noMessageFound:
      return "Absent"
    case streamNotFound:
      return "Missing"
    case undefined:
      // Nobody listens on the subject: there is no such stream.
      if (error.code === "503") return "Missing"
  }
  return new RegistryUnavailable({
    reason: explained(error.message ?? String(cause), error.api_error?.err_code)
  })
}

const isTimeout = (cause: unknown) => cause instanceof Error && "code" in cause && cause.code === "TIMEOUT"

export const layer = (options: NatsEventLogOptions): Layer.Layer<EventLog, never, NatsConnection> =>
  Layer.effect(
    EventLog,
    Effect.map(NatsConnection, (connection) => makeLog(connection, options))
  )

const makeLog = (
  connection: NatsConnection["Service"],
  options: NatsEventLogOptions
): EventLog["Service"] => {
  const { client } = connection
  const root = `ebb.${wireVersion}.${options.cluster}.${options.log}`
  const stream = `ebb_${options.cluster}_${options.log}`
  const js = client.jetstream({ timeout: callMs })
  const manager = () => client.jetstreamManager({ timeout: callMs, checkAPI: false })
  const unavailable = (reason: string) => new RegistryUnavailable({ reason: `${reason} (log ${stream})` })

  const call = <A>(run: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, CallError> =>
    Effect.suspend(() =>
      connection.isConnected()
        ? Effect.tryPromise({ try: run, catch: callError })
        : Effect.fail(unavailable("not connected to NATS"))
    ).pipe(
      Effect.timeoutOrElse({
        duration: callMs,
        orElse: () => Effect.fail(unavailable(`no answer in ${callMs} ms`))
      })
    )

  const makeStream = call(async () => {
    const jsm = await manager()
    await jsm.streams.add({
      name: stream,
      subjects: [`${root}.>`],
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
      num_replicas: replicasOf(connection, options),
      deny_delete: true,
      // A direct get may be answered by a follower that lags behind.
      allow_direct: false
    })
  })

  /** What fails with `Missing` was not executed. */
  const healing = <A>(run: (signal: AbortSignal) => Promise<A>) =>
    call(run).pipe(
      Effect.catchIf(
        (error) => error === "Missing",
        () => Effect.andThen(makeStream, call(run))
      ),
      Effect.mapError((error) => (error === "Missing" ? unavailable("JetStream is not enabled") : error))
    )

  /** Until it is answered, or given up by whoever reads. */
  const insist = async <A>(run: () => Promise<A>, signal: AbortSignal): Promise<A> => {
    while (true) {
      try {
        return await run()
      } catch (cause) {
        if (signal.aborted || !isTimeout(cause)) throw cause
      }
    }
  }

  const lastSequence = async (subject: string, signal: AbortSignal): Promise<number> => {
    const jsm = await client.jetstreamManager({ timeout: silenceMs, checkAPI: false })
    return insist(async () => (await jsm.streams.getMessage(stream, { last_by_subj: subject })).seq, signal)
  }

  const readAll = async (subject: string, signal: AbortSignal): Promise<ReadonlyArray<LoggedEvent>> => {
    const end = await lastSequence(subject, signal)
    const reader = client.jetstream({ timeout: silenceMs })
    const events: Array<LoggedEvent> = []
    const readOn = async (from: number): Promise<void> => {
      const consumer = consumerOpts()
      consumer.bindStream(stream)
      consumer.orderedConsumer()
      consumer.startSequence(from)
      const messages = await reader.subscribe(subject, consumer)
      const stop = () => messages.unsubscribe()
      signal.addEventListener("abort", stop)
      const silence = setTimeout(stop, silenceMs)
      for await (const message of messages) {
        silence.refresh()
        events.push({ sequence: message.seq, data: message.data })
        if (message.seq >= end) break
      }
      clearTimeout(silence)
      stop()
    }
    while (!signal.aborted) {
      const last = events.at(-1)?.sequence ?? 0
      if (last >= end) break
      await insist(() => readOn(last + 1), signal)
    }
    return events
  }

  return {
    append: (subject, data, expectedLast) =>
      healing(() =>
        js.publish(`${root}.${subject}`, data, { expect: { lastSubjectSequence: expectedLast } })
      ).pipe(
        Effect.map((ack) => ack.seq),
        Effect.mapError((error) =>
          error === "Conflict"
            ? new KeyConflict({ key: subject })
            : error === "Absent"
              ? unavailable("not an append's answer")
              : error
        )
      ),
    read: (subject) =>
      healing((signal) => readAll(`${root}.${subject}`, signal)).pipe(
        Effect.catchIf(
          (error) => error === "Absent",
          () => Effect.succeed([])
        ),
        Effect.mapError((error) => (error === "Conflict" ? unavailable("not a read's answer") : error))
      )
  }
}
