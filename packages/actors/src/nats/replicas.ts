/**
 * How many copies a bucket or a log has: as asked for, and otherwise as many as survive the loss of a server, where there are several
 * nats-servers. It is decided when it is made; what exists keeps what it has, and is complained about when that is less than asked for.
 */
import * as Effect from "effect/Effect"
import type { NatsConnection } from "./NatsConnection.ts"

export interface Replicated {
  /**
   * Copies in a cluster of nats-servers, 1 to 5. Default 3 in a cluster, 1 on a server alone. What exists keeps its own:
   * `nats stream edit --replicas` changes it.
   */
  readonly replicas?: number | undefined
}

export const replicasOf = (connection: NatsConnection["Service"], { replicas }: Replicated): number =>
  replicas ?? (connection.client.info?.cluster === undefined ? 1 : 3)

/** Server error codes: not clustered, and not enough servers that have JetStream. */
const unplaceable: ReadonlyArray<number | undefined> = [10074, 10005]

/** What the server says of a stream that it did not make, with what can be done about it. */
export const explained = (problem: string, code: number | undefined): string =>
  unplaceable.includes(code)
    ? `${problem}: start more nats-servers with JetStream, or ask for fewer copies (replicas)`
    : problem

export const complain = (what: string, has: number, wanted: Replicated) =>
  wanted.replicas !== undefined && has < wanted.replicas
    ? Effect.logWarning(
        `${what} has ${has} of ${wanted.replicas} copies: 'nats stream edit --replicas ${wanted.replicas}' gives it more`
      )
    : Effect.void
