/** Everything that a process needs of NATS, on one connection: its transport and its registry. */
import * as Layer from "effect/Layer"
import type { NatsRefused, NatsUnavailable } from "../ActorError.ts"
import type { Registry } from "../Registry.ts"
import type { Transport } from "../Transport.ts"
import { NatsConnection, type NatsOptions } from "./NatsConnection.ts"
import * as NatsRegistry from "./NatsRegistry.ts"
import * as NatsTransport from "./NatsTransport.ts"

export const layer = (
  options: NatsOptions & NatsRegistry.NatsRegistryOptions
): Layer.Layer<Transport | Registry | NatsConnection, NatsUnavailable | NatsRefused> =>
  Layer.mergeAll(NatsTransport.layer, NatsRegistry.layer(options)).pipe(
    Layer.provideMerge(NatsConnection.layer(options))
  )
