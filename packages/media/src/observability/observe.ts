/**
 * What a program that runs a node is told to let others see of it, as one layer below which it is started. What is not asked for is not
 * even loaded.
 */
import { AsksMeasured } from "@ebb/actors"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

export interface ObserveOptions {
  readonly nodeId: string
  readonly cluster: string
  readonly version: string
  /** Of its collector, `http://host:4318`. */
  readonly otlp: string | undefined
  readonly log: "text" | "json"
  /** Does anybody look? Asks are measured then. */
  readonly isWatched: boolean
  /** Once it has one. */
  readonly incarnation: () => string | undefined
}

export const layerObserved = (options: ObserveOptions): Layer.Layer<never> => {
  const { cluster, incarnation, isWatched, log, nodeId, otlp, version } = options
  const who = () => ({ node: nodeId, cluster, incarnation: incarnation() ?? "" })
  const logs =
    log === "text"
      ? Layer.empty
      : Layer.unwrap(
          Effect.map(
            Effect.promise(() => import("./jsonLog.ts")),
            ({ layerJsonLog }) => layerJsonLog(who)
          )
        )
  const collector =
    otlp === undefined
      ? Layer.empty
      : Layer.unwrap(
          Effect.map(
            Effect.promise(() => import("./otlp.ts")),
            ({ layerOtlp }) => layerOtlp({ url: otlp, nodeId, cluster, version })
          )
        )
  // The collector is given what the log says too, and complains to it.
  return Layer.mergeAll(collector, Layer.succeed(AsksMeasured, isWatched)).pipe(Layer.provideMerge(logs))
}
