/**
 * A process as a NATS micro service, so that the standard tools (`nats micro ls`, `info`, `stats`) find it: answers what is asked of every
 * service, of those of one name, and of one instance.
 *
 * Listens to questions about the service alone. Its endpoints are what the process serves anyway, named and counted by whoever serves
 * them: the client library's own services would subscribe to each again, and their metadata stays what it was at the start.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { EndpointInfo, NamedEndpointStats, ServiceIdentity } from "nats"
import { Transport } from "../Transport.ts"

/** Since the start of the process. */
export interface EndpointTally {
  readonly requests: number
  readonly errors: number
  readonly lastError: string | undefined
  readonly processingMs: number
}

export interface ServiceEndpoint {
  /** Letters, digits, `_` and `-`. */
  readonly name: string
  readonly subject: string
  readonly queueGroup: string
  readonly tally: () => EndpointTally
}

export interface MicroService {
  /** What it is; the same for all instances. An id. */
  readonly name: string
  /** Which instance it is. An id. */
  readonly id: string
  /** Of the software, as `major.minor.patch`. */
  readonly version: string
  readonly description: string
  /** Wall-clock milliseconds. */
  readonly startedAt: number
  /** What is true of it now: read for each answer. */
  readonly metadata: Effect.Effect<Readonly<Record<string, string>>>
  readonly endpoints: ReadonlyArray<ServiceEndpoint>
}

const nanosPerMilli = 1_000_000

/** Answers until the scope closes. Where NATS does not allow it nobody finds the service, and nothing else is different. */
export const announceService = (service: MicroService): Effect.Effect<void, never, Transport | Scope.Scope> =>
  Effect.gen(function* () {
    const transport = yield* Transport
    const run = Effect.runForkWith(yield* Effect.context())
    const { description, endpoints, id, name, version } = service
    const started = DateTime.formatIso(DateTime.makeUnsafe(service.startedAt))

    const about = (verb: "ping" | "info" | "stats") =>
      Effect.map(service.metadata, (metadata) => ({
        type: `io.nats.micro.v1.${verb}_response` as ServiceIdentity["type"],
        name,
        id,
        version,
        metadata
      }))
    const answers: Readonly<Record<string, Effect.Effect<object>>> = {
      PING: about("ping"),
      INFO: Effect.map(about("info"), (identity) => ({
        ...identity,
        description,
        endpoints: endpoints.map(endpointInfo)
      })),
      STATS: Effect.map(about("stats"), (identity) => ({
        ...identity,
        started,
        endpoints: endpoints.map(endpointStats)
      }))
    }

    yield* Effect.forEach(
      ["$SRV.*", `$SRV.*.${name}`, `$SRV.*.${name}.${id}`],
      (subject) =>
        transport.subscribe(subject, (frame) => {
          const [, verb = ""] = frame.subject.split(".")
          const answer = Object.hasOwn(answers, verb) ? answers[verb] : undefined
          if (answer === undefined) return
          run(Effect.map(answer, (told) => frame.respond?.(Buffer.from(JSON.stringify(told)))))
        }),
      { concurrency: "unbounded", discard: true }
    )
  })

const endpointInfo = ({ name, queueGroup, subject }: ServiceEndpoint): EndpointInfo => ({
  name,
  subject,
  queue_group: queueGroup
})

const endpointStats = ({ name, queueGroup, subject, tally }: ServiceEndpoint): NamedEndpointStats => {
  const { errors, lastError, processingMs, requests } = tally()
  const nanos = Math.round(processingMs * nanosPerMilli)
  return {
    name,
    subject,
    queue_group: queueGroup,
    num_requests: requests,
    num_errors: errors,
    ...(lastError === undefined ? {} : { last_error: lastError }),
    processing_time: nanos,
    average_processing_time: requests === 0 ? 0 : Math.round(nanos / requests)
  }
}
