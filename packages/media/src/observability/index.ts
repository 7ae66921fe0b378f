/** For a host that lets others see its node: what `ebb-node` does with --metrics, --otlp and --log json, one by one. */
export { layerJsonLog } from "./jsonLog.ts"
export type { MetricsServer, MetricsServerOptions } from "./MetricsServer.ts"
export { serveMetrics } from "./MetricsServer.ts"
export type { OtlpOptions } from "./otlp.ts"
export { layerOtlp } from "./otlp.ts"
export { processMetrics } from "./processMetrics.ts"
