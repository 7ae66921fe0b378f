/** A media node to embed or to run: everything public, named one by one. What crosses processes is in `@ebb/media/protocol`. */
export { drainOnSignals } from "./drainOnSignals.ts"
export type { SignalOptions } from "./drainOnSignals.ts"
export type { MediaEngineOptions } from "./engine/MediaEngine.ts"
export * from "./MediaError.ts"
export type { DrainCall, MediaNodeOptions, NodeEnd, RunningNode } from "./MediaNodeProcess.ts"
export { startMediaNode } from "./MediaNodeProcess.ts"
export type { PartOutcome, Receipt } from "./recording/index.ts"
export { checkFfmpeg, recover, RecordingStore } from "./recording/index.ts"
