import * as Schema from "effect/Schema"

/**
 * Never retry as it is: what this process was given to reach NATS does not fit: credentials that the server refuses, a certificate that
 * one of the two does not trust, or a file that cannot be used. `problem` says what to change, and holds no secret.
 */
export class NatsRefused extends Schema.TaggedError<NatsRefused>()("NatsRefused", {
  servers: Schema.Array(Schema.String),
  problem: Schema.String
}) {
  readonly retry = "never"
  override get message() {
    return `no connection to NATS at ${this.servers.join(", ")}: ${this.problem}`
  }
}
