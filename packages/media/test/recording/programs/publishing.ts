/** Publishes a file that is staged already: `publishing.ts <store> <staging> <recordingId> <part> <name> <finalName>`. For tests that kill it. */
import * as Effect from "effect/Effect"
import { RecordingStore } from "../../../src/recording/RecordingStore.ts"

const [location = "", staging = "", recordingId = "", part = "", name = "", finalName = ""] =
  process.argv.slice(2)

await Effect.flatMap(RecordingStore, (store) => store.publish(recordingId, part, name, finalName)).pipe(
  Effect.provide(RecordingStore.at(location, { staging })),
  Effect.runPromise
)
