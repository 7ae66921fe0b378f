/**
 * How a program reaches NATS, from its environment: secrets stand there or in files that it names, and never on a command line.
 *
 *     EBB_NATS, EBB_NATS_INBOX           where it is, and where answers arrive
 *     EBB_NATS_USER, EBB_NATS_PASSWORD   or EBB_NATS_TOKEN, or EBB_NATS_NKEY, or EBB_NATS_CREDS (both name a file)
 *     EBB_NATS_REPLICAS                  copies of what it keeps there, in a cluster of nats-servers
 *     EBB_NATS_CA                        files for TLS; EBB_NATS_CERT and EBB_NATS_KEY where the server wants to know the client
 */
import * as Redacted from "effect/Redacted"
import type { MediaNodeOptions } from "./MediaNodeProcess.ts"

/** `value` gives a variable's value, undefined when it is not set. What is not set is not in the options. */
export const natsFromEnvironment = (
  value: (variable: string) => string | undefined
): MediaNodeOptions["nats"] => {
  const secret = (variable: string) => {
    const text = value(variable)
    return text === undefined ? undefined : Redacted.make(text)
  }
  const tls = {
    caFile: value("EBB_NATS_CA"),
    certFile: value("EBB_NATS_CERT"),
    keyFile: value("EBB_NATS_KEY")
  }
  const replicas = value("EBB_NATS_REPLICAS")
  return {
    replicas: replicas === undefined ? undefined : Number(replicas),
    servers: (value("EBB_NATS") ?? "127.0.0.1:4222").split(","),
    inboxPrefix: value("EBB_NATS_INBOX"),
    user: value("EBB_NATS_USER"),
    password: secret("EBB_NATS_PASSWORD"),
    token: secret("EBB_NATS_TOKEN"),
    nkeyFile: value("EBB_NATS_NKEY"),
    credsFile: value("EBB_NATS_CREDS"),
    tls: Object.values(tls).some((file) => file !== undefined) ? tls : undefined
  }
}
